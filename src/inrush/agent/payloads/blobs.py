"""Payloads too large for a frame, on their way between the blob store and a guest.

The short way is a descriptor of the memory that holds it (`descriptors`). Where there is none, a blob is read piece by
piece and written as fast as the guest reads; from the guest, pieces are appended to a new blob of the store. Either
way the guest chose an id for what it sends, and where it refers to it that is rewritten to the store's. A guest can
name only blobs that it sent itself, so it cannot read another's.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Protocol

import msgspec

from inrush import frames
from inrush.agent.payloads.descriptors import Descriptors
from inrush.errors import Error, RequestSizeError, ResourceExhaustedError
from inrush.wire import Codec, system_failure

_BLOB = Codec.BLOB.value

MAX_OPEN_BLOBS = 256
"""Blobs that a guest may have begun, or sent and not yet referred to."""


class Readable(Protocol):
    """An open blob. `read(n)` gives at most n bytes, and none at the end."""

    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class BlobReader(Protocol):
    """Blobs by id, such as `sha256-…`: the server's store on this machine, or a copy fetched from it."""

    def open(self, id: str, /) -> Readable:
        """Raises `NotFoundError` where there is no such blob."""
        ...


class BlobWriter(Protocol):
    """A blob in the making: it has an id from the start, and is there for others after `commit`."""

    def write(self, data: bytes, /) -> None: ...
    def commit(self) -> str: ...
    def abort(self) -> None: ...


class Blobs(Protocol):
    """The part of the blob store that an agent uses."""

    def open(self, id: str, /) -> Readable: ...
    def create(self, digest: str = "", owner: str = "") -> BlobWriter:
        """Counted against what `owner`, an app, may have."""
        ...

    def size(self, id: str, /) -> int: ...
    def descriptor(self, id: str, /) -> int:
        """To read it by; the caller closes it."""

    def adopt(self, fd: int, id: str, /, owner: str = "") -> int:
        """Takes over a sealed memfd, and closes it if it cannot be had; the blob's size."""


def is_reference(payload: bytes) -> bool:
    return payload[:1] == _BLOB


class Reference(msgspec.Struct, frozen=True):
    """What a payload that stands for a blob says."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    bytes: Annotated[int, msgspec.Meta(ge=0, lt=2**62)] = 0


_read = msgspec.json.Decoder(Reference).decode


def reference(id: str, size: int) -> bytes:
    """A payload that stands for a blob."""
    return Codec.BLOB.value + msgspec.json.encode({"id": id, "bytes": size})


def referred_id(payload: bytes) -> str:
    """The id in a reference: of a payload's blob, never of a source, which is known by its content. Raises `FrameError`
    for anything malformed."""
    try:
        id = _read(payload[1:]).id
    except (ValueError, RecursionError):
        raise frames.FrameError("a malformed reference to a blob") from None
    if id.startswith("sha256-"):
        raise frames.FrameError("a reference without the id of a payload")
    return id


class Inbound:
    """Blobs that one guest sends. A blob over the limit, or one that the store cannot take, is dropped as it arrives,
    and what refers to it becomes the error."""

    def __init__(self, blobs: Blobs, max_payload_bytes: int, descriptors: Descriptors, app: str = "") -> None:
        self._blobs = blobs
        self._descriptors = descriptors
        self._app = app
        self._max_bytes = max_payload_bytes
        self._open: dict[str, _Arriving] = {}
        self._done: dict[str, _Arriving] = {}

    def piece(self, id: str, data: bytes, last: bool) -> None:
        """The next bytes of the guest's blob `id`."""
        arriving = self._open.get(id)
        if arriving is None:
            if len(self._open) + len(self._done) >= MAX_OPEN_BLOBS:
                raise frames.FrameError(f"more than {MAX_OPEN_BLOBS} blobs begun and not referred to")
            arriving = self._open[id] = _Arriving(self._blobs, self._max_bytes, self._descriptors, self._app)
        arriving.take(data, last)
        if last:
            self._done[id] = self._open.pop(id)

    def resolve(self, payload: bytes) -> tuple[bytes, bool]:
        """The payload that stands for the stored blob, and whether it is good; else the payload is the failure."""
        id = referred_id(payload)
        arriving = self._done.pop(id, None)
        if arriving is None:
            return self._adopt(id)
        return arriving.outcome(), arriving.failure == b""

    def _adopt(self, id: str) -> tuple[bytes, bool]:
        fd = self._descriptors.take(id)
        if fd is None:
            raise frames.FrameError("a reference to a blob that was not sent")
        name = f"bl-{secrets.token_hex(16)}"
        try:
            return reference(name, self._blobs.adopt(fd, name, owner=self._app)), True
        except (Error, OSError) as error:
            code = type(error).__name__ if isinstance(error, Error) else "ResourceExhaustedError"
            return system_failure(code, f"a large result could not be kept: {error}"), False

    def close(self) -> None:
        """Removes what the guest did not finish or did not use, because it is gone."""
        for arriving in (*self._open.values(), *self._done.values()):
            arriving.abort()
        self._open.clear()
        self._done.clear()


class _Arriving:
    """A blob on its way into the store."""

    def __init__(self, blobs: Blobs, max_bytes: int, descriptors: Descriptors, app: str) -> None:
        self._max_bytes = max_bytes
        self._descriptors = descriptors
        self._size = 0
        self._writer: BlobWriter | None = None
        self.failure = b""
        try:
            if not descriptors.may_hold():
                raise ResourceExhaustedError(
                    "the app has the most large results in flight that it may have; try again later"
                )
            try:
                self._writer = blobs.create(owner=app)
            except BaseException:
                descriptors.let_go()
                raise
        except (Error, OSError) as error:
            self._fail(error)

    def take(self, data: bytes, last: bool) -> None:
        self._size += len(data)
        if self._writer is None:
            return
        try:
            if self._size > self._max_bytes:
                raise RequestSizeError(
                    f"a result is larger than {self._max_bytes >> 20} MiB, the largest payload here (max_payload_mib)"
                )
            self._writer.write(data)
        except (Error, OSError) as error:
            self._fail(error)

    def outcome(self) -> bytes:
        """Commits; the reference, or the failure."""
        if self._writer is not None:
            try:
                committed = reference(self._writer.commit(), self._size)
            except (Error, OSError) as error:
                self._fail(error)
            else:
                self._writer = None
                self._descriptors.let_go()
                return committed
        return self.failure

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.abort()
            self._writer = None
            self._descriptors.let_go()

    def _fail(self, error: Exception) -> None:
        code = type(error).__name__ if isinstance(error, Error) else "ResourceExhaustedError"
        self.failure = system_failure(code, str(error))
        self.abort()
