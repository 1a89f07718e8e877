"""Constants of `wire` that the guest needs. It cannot import `wire`, which needs msgspec: an image may hold another
version of it, or none."""

from __future__ import annotations

import json

PICKLE, JSON, ASGI, BLOB, PARTS = b"P", b"J", b"A", b"B", b"O"
"""The first byte of a payload; see `wire.Codec`."""

OK, ERROR, TIMEOUT, CANCELLED, INTERNAL = 0, 1, 2, 6, 8
"""The statuses of attempts that a guest reports; see `wire.Status`."""

MAX_ITEM_BYTES = 16 * 1024 * 1024
"""The largest message of a WebSocket; the agent takes no larger item."""

MAX_SAID_CHARS = 32 * 1024
"""The longest message or traceback of a failed start; longer ones are cut."""

INLINE_LIMIT_BYTES = 256 * 1024
"""A larger payload is sent on its own, and referred to by its id."""

MAX_PAYLOAD_BYTES = 4 * 1024**3
"""The largest payload, unless the agent says otherwise."""


def system_failure(code: str, message: str, type: str = "", traceback: str = "") -> bytes:
    """The payload of an attempt that ended otherwise than by an exception of user code: `wire.SystemFailure` as JSON.
    `code` names a class of `errors`."""
    failure = {"code": code, "message": message}
    if type:
        failure["type"] = type
    if traceback:
        failure["traceback"] = traceback
    return JSON + json.dumps(failure).encode()
