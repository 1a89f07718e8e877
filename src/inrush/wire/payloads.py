"""What inputs and results are made of: bytes that start with their codec, and how an attempt ended.

Only client and guest look into a payload, except where it is a `SystemFailure`: those are written by all.
"""

from __future__ import annotations

import enum

import msgspec

from inrush.wire.structs import MAX_INLINE_BYTES, Struct

INLINE_LIMIT_BYTES = MAX_INLINE_BYTES
"""A larger payload travels as a blob, and the message carries its id."""


class Codec(bytes, enum.Enum):
    """First byte of a payload."""

    PICKLE = b"P"
    """cloudpickle: `(args, kwargs)` of an input, the value of a result."""
    JSON = b"J"
    """UTF-8 JSON: system errors (`SystemFailure`), results for callers that do not speak pickle."""
    ASGI = b"A"
    """A web request (`{"scope": …}` JSON, newline, first body bytes) or an ASGI message back (JSON, newline, body
    bytes)."""
    PARTS = b"O"
    """As PICKLE, with the large buffers outside of it (`parts`)."""
    BLOB = b"B"
    """UTF-8 JSON `{"id": …, "bytes": n}`: the payload, with its own codec byte, is that blob."""


class Status(enum.IntEnum):
    """How an input, or one attempt at it, ended."""

    OK = 0
    ERROR = 1
    """User code raised: payload is a pickle of `(exception, traceback text)`, or JSON `SystemFailure` where it does
    not pickle."""
    TIMEOUT = 2
    CRASHED = 3
    """The container died under it."""
    OUT_OF_MEMORY = 4
    STARTUP = 5
    """The container could not start."""
    CANCELLED = 6
    LOST = 7
    """The node or the link went away; says nothing about the input, so it costs no retry."""
    INTERNAL = 8


class SystemFailure(Struct, frozen=True):
    """JSON payload of a result that is not user code's: `code` is a class name of `errors`. For a user exception that
    does not pickle, `type` and `traceback` say what it was."""

    code: str
    message: str
    type: str = ""
    traceback: str = ""


def system_failure(code: str, message: str, type: str = "", traceback: str = "") -> bytes:
    """The payload of a result that ended by us and not by user code."""
    return Codec.JSON.value + msgspec.json.encode(
        SystemFailure(code=code, message=message, type=type, traceback=traceback)
    )
