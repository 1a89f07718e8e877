"""What the guest needs of `wire`, which it cannot import: `wire` needs msgspec, and an image may hold another one,
or none."""

from __future__ import annotations

import json

PICKLE, JSON, ASGI, BLOB, PARTS = b"P", b"J", b"A", b"B", b"O"
"""First byte of a payload; see `wire.Codec`."""

OK, ERROR, TIMEOUT, CANCELLED, INTERNAL = 0, 1, 2, 6, 8
"""Ends of an attempt that a guest reports; see `wire.Status`."""

MAX_ITEM_BYTES = 16 * 1024 * 1024
"""The largest message of a web socket; the agent takes no larger item."""

MAX_SAID_CHARS = 32 * 1024
"""A longer message, or traceback, of a start that failed is cut."""

INLINE_LIMIT_BYTES = 256 * 1024
"""A larger payload crosses in pieces, and is referred to by its id."""

MAX_PAYLOAD_BYTES = 4 * 1024**3
"""The largest payload, unless the agent says otherwise."""


def system_failure(code: str, message: str, type: str = "", traceback: str = "") -> bytes:
    """The payload of an end that is not a user's exception: `wire.SystemFailure` as JSON. `code` is a class of
    `errors`."""
    failure = {"code": code, "message": message}
    if type:
        failure["type"] = type
    if traceback:
        failure["traceback"] = traceback
    return JSON + json.dumps(failure).encode()
