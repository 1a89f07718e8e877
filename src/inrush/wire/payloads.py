"""Payloads of inputs and results, which begin with the byte of their codec, and the statuses of attempts.

Only client and guest decode payloads. Every part of inrush writes `SystemFailure`s.
"""

from __future__ import annotations

import enum

import msgspec

from inrush.wire.structs import MAX_INLINE_BYTES, Struct

INLINE_LIMIT_BYTES = MAX_INLINE_BYTES
"""The largest payload in a message. A larger one is sent as a blob, and the message carries its id."""


class Codec(bytes, enum.Enum):
    """The first byte of a payload."""

    PICKLE = b"P"
    """cloudpickle: `(args, kwargs)` of an input, the value of a result."""
    JSON = b"J"
    """UTF-8 JSON: a `SystemFailure`, or an input or result of a caller that does not use pickle."""
    ASGI = b"A"
    """A web request (JSON `{"scope": …}`, newline, first bytes of the body), or an ASGI message of the response (JSON,
    newline, bytes of the body)."""
    PARTS = b"O"
    """A pickle with its large buffers outside of it (`parts`)."""
    BLOB = b"B"
    """A reference, as UTF-8 JSON `{"id": …, "bytes": n}`. The blob of that id is the payload, with its own codec
    byte."""


class Status(enum.IntEnum):
    """How an input, or one attempt at it, ended."""

    OK = 0
    ERROR = 1
    """User code raised. The payload is a pickle of `(exception, traceback text)`, or a `SystemFailure` if the exception
    cannot be pickled."""
    TIMEOUT = 2
    CRASHED = 3
    """The container died while it ran the input."""
    OUT_OF_MEMORY = 4
    STARTUP = 5
    """The container could not start."""
    CANCELLED = 6
    LOST = 7
    """The node or the link was lost. That is not the input's fault, so it uses up no retry."""
    INTERNAL = 8


class SystemFailure(Struct, frozen=True):
    """The JSON payload of a failure that is not an exception of user code. `code` names a class of `errors`. For an
    exception of user code that cannot be pickled, `type` and `traceback` describe it."""

    code: str
    message: str
    type: str = ""
    traceback: str = ""


def system_failure(code: str, message: str, type: str = "", traceback: str = "") -> bytes:
    """The payload of a `SystemFailure`, with its codec byte."""
    return Codec.JSON.value + msgspec.json.encode(
        SystemFailure(code=code, message=message, type=type, traceback=traceback)
    )
