"""Encoding of payloads: decodes arguments, encodes results and exceptions.

pickle is tried first, since it is fast, and cloudpickle for what pickle cannot do (lambdas, classes of `__main__`). An
input that came as JSON is answered in JSON, since its caller does not read pickles.
"""

from __future__ import annotations

import json
import pickle
from functools import partial
from typing import Any, cast

from inrush import by_value, parts
from inrush.errors import CancelledError, DeserializationError, Error, FunctionTimeoutError, SerializationError
from inrush.guest.protocol import CANCELLED, ERROR, JSON, OK, PARTS, PICKLE, TIMEOUT, system_failure
from inrush.guest.tracebacks import traceback_text, type_name
from inrush.parts import Buffers, Parts

Payload = bytes | Parts
Result = tuple[int, Payload]
"""Status and payload."""


def codec_of(payload: bytes | memoryview) -> bytes:
    """The codec for the answer to an input: JSON for JSON, pickle for all others."""
    return JSON if payload[:1] == JSON else PICKLE


def arguments(payload: bytes | memoryview) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """`(args, kwargs)` of an input. Raises `DeserializationError` if they cannot be decoded, and `SerializationError`
    if they hold code of another Python."""
    codec = payload[:1]
    try:
        if codec == PARTS:
            args, kwargs = cast(Any, parts.load(payload))
        elif codec == PICKLE:
            args, kwargs = pickle.loads(memoryview(payload)[1:])  # noqa: S301 - from the caller, who owns this code too
        elif codec == JSON:
            args, kwargs = json.loads(bytes(payload[1:]))
        else:
            raise ValueError(f"no codec {bytes(codec)!r}")
    except SerializationError:
        raise
    except Exception as error:
        raise DeserializationError(
            f"the arguments cannot be unpickled in the container: {type_name(error)}: {error}; "
            "is the package that defines them in the image, in the same version?"
        ) from error
    return args, kwargs


def succeeded(value: Any, codec: bytes = PICKLE) -> Result:
    """The status and payload of a result, in the codec of its input; an error if it cannot be encoded."""
    try:
        return OK, encode(value, codec)
    except Error as error:
        return ERROR, system_failure(type(error).__name__, str(error))


def encode(value: Any, codec: bytes) -> Payload:
    """The payload of a value. Raises `SerializationError` naming its type."""
    try:
        if codec == JSON:
            return JSON + json.dumps(value).encode()
        return parts.dump(partial(dumps, value), PICKLE)
    except Exception as error:
        what = "be written as JSON" if codec == JSON else "be pickled"
        raise SerializationError(
            f"a result of type {type_name(value)} cannot {what}: {error}; return plain data"
        ) from error


def dumps(value: Any, keep: Buffers | None = None) -> bytes:
    """Pickles a value, with cloudpickle where pickle fails. Large buffers are appended to `keep`."""
    try:
        return pickle.dumps(value, 5, buffer_callback=keep)
    except Exception as first:
        try:
            if keep is not None:
                keep.clear()
            return by_value.dumps(value, keep)
        except ImportError:
            raise first from None


def failed(error: BaseException, codec: bytes = PICKLE) -> tuple[int, bytes]:
    """The status and payload of an exception of user code: the pickled exception if it can be pickled, else its type,
    message and traceback."""
    text = traceback_text(error)
    message = _said(error)
    if codec == PICKLE and isinstance(error, Exception):
        try:
            return ERROR, PICKLE + _as_itself(error, text)
        except Exception as why:
            message += f" (not as its own type: {why})"
    return ERROR, system_failure("RemoteError", message, type_name(error), text)


def _said(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"user code called sys.exit({error.code!r})"
    try:
        said = str(error)
    except Exception:  # its class has a `__str__` of its own
        said = ""
    return f"{type_name(error)}: {said}" if said else type_name(error)


def _as_itself(error: Exception, text: str) -> bytes:
    """The pickle of an exception and its traceback. Raises what pickling raises. An exception whose constructor takes
    other arguments than it passes on would come back damaged, or not at all, and is made without it instead."""
    try:
        pickled = dumps((error, text))
        back = pickle.loads(pickled)[0]  # noqa: S301 - many exceptions pickle, and then do not unpickle
        if (str(back), repr(back.args)) == (str(error), repr(error.args)):
            return pickled
    except Exception:  # noqa: S110 - it is tried again
        pass
    pickled = by_value.dumps((error, text), errors_anew=True)
    pickle.loads(pickled)  # noqa: S301 - the user's own
    return pickled


def refused(error: Error) -> Result:
    """The status and payload of an error that inrush raises about an input."""
    return ERROR, system_failure(type(error).__name__, str(error))


def forced(status: int, timeout_s: float) -> tuple[int, bytes]:
    """The status and payload of an attempt that the pump ended: `TIMEOUT`, or else `CANCELLED`."""
    if status == TIMEOUT:
        why = f"the input ran longer than its timeout of {timeout_s:g} s; raise timeout= or do less in one call"
        return TIMEOUT, system_failure(FunctionTimeoutError.__name__, why)
    return CANCELLED, system_failure(CancelledError.__name__, "the input was cancelled")
