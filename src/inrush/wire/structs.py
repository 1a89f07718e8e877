"""The base classes of the schema: specs (`Struct`) and messages (`Message`); and bounded types for their fields, which
decoders check.

A short frame must not become much memory: an empty string is one byte in msgpack, and fifty in Python. So messages from
user programs have bounds on the number and length of everything that can repeat.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

MAX_ID_CHARS = 200
MAX_NAME_CHARS = 1000
MAX_ROWS = 16_384
"""The most rows in the columns of one message."""
MAX_INLINE_BYTES = 256 * 1024
"""The largest payload in a message (`payloads.INLINE_LIMIT_BYTES`). A larger one is sent as a blob."""

Id = Annotated[str, Meta(max_length=MAX_ID_CHARS)]
Name = Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
Kind = Annotated[str, Meta(pattern="^(remote|map|gen|spawn)$")]
"""The kinds of call that a client may start. Calls of the gateway are of the kind `web`."""
Index = Annotated[int, Meta(ge=0, lt=2**31)]
Count = Annotated[int, Meta(ge=0, lt=2**31)]
Total = Annotated[int, Meta(ge=-1, lt=2**31)]
"""The number of inputs; -1 while it is not known."""
Payloads = Annotated[tuple[Annotated[bytes, Meta(max_length=MAX_INLINE_BYTES)], ...], Meta(max_length=MAX_ROWS)]
Amount = Annotated[int, Meta(ge=0, le=2**53)]
"""A number of things, or MiB of something."""
Quantity = Annotated[float, Meta(ge=0, le=1e9)]
"""Seconds, cores, or a factor. A number that is none (NaN) is no quantity: it would put the order of all timers of the
scheduler, and of all nodes, out of order."""
Priority = Annotated[int, Meta(ge=-(10**9), le=10**9)]
Spans = Annotated[tuple[tuple[Index, Count], ...], Meta(max_length=MAX_ROWS)]
"""Ranges [a, b) of indexes."""


class Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base of specs: immutable, compared by value."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag=True, array_like=True):
    """The base of messages: positional on the wire, tagged by class name."""
