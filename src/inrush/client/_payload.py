"""From Python values to payloads and back.

Plain pickle first, because it is ten times faster; cloudpickle where that cannot (lambdas, local classes). What the
program defines in `__main__` goes by reference to the program's own module name, so that it is the same class in the
container and when it comes back. Payloads over the inline limit become blobs, in pieces, and the message carries their
id.
"""

from __future__ import annotations

import functools
import importlib
import io
import pickle
import pickletools
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inrush import by_value, errors, parts
from inrush.client._traceback import RemoteTraceback
from inrush.parts import Buffers, Parts
from inrush.wire import INLINE_LIMIT_BYTES, GetBlob, HasBlobs, PutBlob, Status

if TYPE_CHECKING:
    from inrush.client._connection import Link
    from inrush.client._tar import Blob

_PIECE_BYTES = 4 * 1024 * 1024


def dump(value: Any) -> bytes:
    """A payload in one piece, with its codec byte. Raises what pickling raised."""
    return b"P" + _dumps(value)


def _dumps(value: Any, keep: Buffers | None = None) -> bytes:
    """Pickles a value; `keep` takes the large buffers."""
    try:
        data = pickle.dumps(value, 5, buffer_callback=keep)
    except Exception:
        return _by_value(value, keep)
    return _by_value(value, keep) if b"__main__" in data else data


def dump_input(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes | Parts:
    """The payload of one input of function `name`; a `SerializationError` names the argument that cannot be pickled."""
    value = (tuple(args), dict(kwargs))
    try:
        return parts.dump(lambda keep: _dumps(value, keep), b"P")
    except Exception as error:
        raise _which_argument(name, args, kwargs, error) from error


def _which_argument(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], error: Exception
) -> errors.SerializationError:
    named = [
        *((f"argument {n + 1}", a) for n, a in enumerate(args)),
        *((f"argument {k!r}", v) for k, v in kwargs.items()),
    ]
    for where, value in named:
        try:
            dump(value)
        except Exception as cause:
            kind = type(value).__name__
            return errors.SerializationError(
                f"{where} of {name} (a {kind}) cannot be pickled: {cause}; pass plain data and make it there"
            )
    return errors.SerializationError(f"the arguments of {name} cannot be pickled: {error}")


def _by_value(value: Any, keep: Buffers | None) -> bytes:
    if keep is not None:
        keep.clear()
    buffer = io.BytesIO()
    _pickler()(buffer, protocol=5, buffer_callback=keep).dump(value)
    return buffer.getvalue()


@functools.cache
def _pickler() -> Any:
    class Pickler(by_value.pickler()):  # type: ignore[misc]
        """By value, but what a program's file defines in `__main__` goes by the name that the file has elsewhere."""

        def reducer_override(self, value: Any) -> Any:
            if getattr(value, "__module__", None) == "__main__" and (isinstance(value, type | types.FunctionType)):
                name = value.__qualname__
                if (module := main_name()) and _find("__main__", name) is value:
                    return _find, (module, name)
            return super().reducer_override(value)

    return Pickler


def main_name() -> str:
    """The name under which a container imports the program that runs as `__main__`; empty for a notebook or a shell."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.parent) if spec.name.endswith("__main__") else str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else ""


def _find(module: str, qualname: str) -> Any:
    """What a module defines; `__main__` counts as the program's own module where that one is running."""
    found: Any = sys.modules["__main__"] if module == main_name() else importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return getattr(found, "raw", found) if found is not None else None


async def pack(link: Link, payload: bytes | Parts, lasting: bool = False) -> bytes:
    """The payload as it may stand in a message: itself, or a reference to the blob that it became. A `lasting` one is
    for a call that outlives the server's process."""
    if isinstance(payload, Parts):
        try:
            return await _store(link, payload.pieces, len(payload), lasting)
        finally:
            payload.release()
    return payload if len(payload) <= INLINE_LIMIT_BYTES else await _store(link, [payload], len(payload), lasting)


async def _store(link: Link, pieces: Sequence[bytes | memoryview], size: int, lasting: bool) -> bytes:
    import msgspec

    from inrush import settings

    limit_mib = settings.load()["max_payload_mib"].value
    if size > limit_mib * 1024 * 1024:
        raise errors.RequestSizeError(
            f"the arguments are {size / 1024**2:.0f} MiB pickled, and the limit is {limit_mib} MiB "
            "(setting max_payload_mib); "
            "put large data into the image or fetch it inside the function"
        )
    if not lasting and link.shared is not None and (given := link.shared.give(pieces, size)):
        return given
    id = await _put(link, pieces)
    return b"B" + msgspec.json.encode({"id": id, "bytes": size})


async def put_blob(link: Link, data: bytes, digest: str = "") -> str:
    """Uploads in pieces; returns the blob's id."""
    return await _put(link, [data], digest)


async def _put(link: Link, whole: Sequence[bytes | memoryview], digest: str = "") -> str:
    upload = ""
    for part in whole:
        view = memoryview(part).cast("B")
        for at in range(0, len(view), _PIECE_BYTES):
            upload = await link.ask(PutBlob(bytes(view[at : at + _PIECE_BYTES]), digest, upload, last=False))
    return str(await link.ask(PutBlob(b"", digest, upload)))


async def put_missing(link: Link, blobs: Iterable[Blob]) -> None:
    """Uploads the blobs that the server does not have."""
    by_id = {blob.id: blob for blob in blobs}
    if by_id:
        for id in await link.ask(HasBlobs(tuple(by_id))):
            await put_blob(link, by_id[id].data, by_id[id].digest)


async def _fetch(link: Link, reference: bytes) -> memoryview:
    """A blob, in memory that may be written to."""
    import msgspec

    blob = msgspec.json.decode(reference)
    if link.shared is not None and (found := link.shared.fetch(blob["id"])) is not None:
        return found
    pieces: list[bytes] = []
    at = 0
    while at < blob["bytes"]:
        piece = await link.ask(GetBlob(blob["id"], at, _PIECE_BYTES))
        if not piece:
            raise errors.InternalError(
                f"blob {blob['id']} ends after {at} of {blob['bytes']} bytes; `inrush server logs` may say why"
            )
        pieces.append(piece)
        at += len(piece)
    return memoryview(bytearray().join(pieces))


def load(payload: bytes | memoryview) -> Any:
    """The value of a payload that is here. Raises `DeserializationError`."""
    if payload[:1] in (b"P", parts.CODEC):
        try:
            if payload[:1] == parts.CODEC:
                return parts.load(payload)
            return pickle.loads(memoryview(payload)[1:])  # noqa: S301 - the user's own data, back from the user's own code
        except errors.SerializationError:
            raise
        except Exception as error:
            raise errors.DeserializationError(
                f"the result cannot be unpickled here: {type(error).__name__}: {error}; "
                "most often its class comes from a package that this Python does not have"
            ) from error
    if payload[:1] == b"J":
        import msgspec

        try:
            return msgspec.json.decode(memoryview(payload)[1:])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise errors.DeserializationError(f"the result is no JSON: {error}") from None
    raise errors.InternalError(
        f"a payload of unknown codec {bytes(payload[:1])!r}; client and server should have the same version"
    )


async def value_of(link: Link, status: int, payload: bytes) -> Any:
    """What an input returned. Raises what it raised, or the error that ended it."""
    whole: bytes | memoryview = payload
    if payload[:1] == b"B":
        whole = await _fetch(link, payload[1:])
    if status == Status.OK:
        return load(whole)
    raise error_of(status, whole)


def error_of(status: int, payload: bytes | memoryview) -> BaseException:
    """The exception of an input that did not return."""
    if payload[:1] == b"P":
        try:
            error, traceback = load(payload)
        except (errors.DeserializationError, errors.SerializationError) as unreadable:
            return _unreadable(payload, unreadable)
        if isinstance(error, BaseException):
            object.__setattr__(error, "__cause__", RemoteTraceback(traceback))  # its class may forbid the short way
            return error
    failure = load(payload) if payload else {}
    if not isinstance(failure, dict):
        return errors.InternalError(f"an input ended as {Status(status).name} with {failure!r}")
    if failure.get("traceback"):
        found = errors.from_code(failure.get("code") or "RemoteError", str(failure.get("message", "")))
        found.__cause__ = RemoteTraceback(failure["traceback"])
        return found
    code = failure.get("code") or _CODES.get(status, "InternalError")
    return errors.from_code(code, failure.get("message") or f"the input ended as {Status(status).name.lower()}")


def _unreadable(payload: bytes | memoryview, why: errors.Error) -> errors.RemoteError:
    """For an exception that cannot be made here: what its traceback says, which is the last text of its pickle."""
    try:
        traceback = [text for _, text, _ in pickletools.genops(bytes(payload[1:])) if isinstance(text, str)][-1]
        last_frame = traceback.rpartition('\n  File "')[2]
        said = next(line for line in last_frame.splitlines()[1:] if line[:1] not in (" ", ""))
    except Exception:  # it cannot be read at all
        return errors.RemoteError(f"the function raised an exception that cannot be unpickled here: {why}")
    found = errors.RemoteError(f"{said} (not as its own type: {why.__cause__ or why})")
    found.__cause__ = RemoteTraceback(traceback)
    return found


_CODES: dict[int, str] = {
    Status.ERROR: "RemoteError",
    Status.TIMEOUT: "FunctionTimeoutError",
    Status.CRASHED: "ExecutionError",
    Status.OUT_OF_MEMORY: "OutOfMemoryError",
    Status.STARTUP: "StartupError",
    Status.CANCELLED: "CancelledError",
    Status.LOST: "ExecutionError",
}
