"""What every struct of the schema is: a value (`Struct`), or something that is said (`Message`); and bounded types for
their fields, which decoders check.

A short frame must not become much memory: msgpack has an empty string in one byte, and Python in fifty. So what comes
from programs of users has few and short parts wherever it can be repeated.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

MAX_ID_CHARS = 200
MAX_NAME_CHARS = 1000
MAX_ROWS = 16_384
"""Rows of the columns of one message."""
MAX_INLINE_BYTES = 256 * 1024
"""A larger payload travels as a blob, and the message carries its id (`payloads.INLINE_LIMIT_BYTES`)."""

Id = Annotated[str, Meta(max_length=MAX_ID_CHARS)]
Name = Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
Kind = Annotated[str, Meta(pattern="^(remote|map|gen|spawn)$")]
"""Of a call that a client may start; those of the gateway are `web`."""
Index = Annotated[int, Meta(ge=0, lt=2**31)]
Count = Annotated[int, Meta(ge=0, lt=2**31)]
Total = Annotated[int, Meta(ge=-1, lt=2**31)]
"""-1 while it is not known."""
Payloads = Annotated[tuple[Annotated[bytes, Meta(max_length=MAX_INLINE_BYTES)], ...], Meta(max_length=MAX_ROWS)]
Spans = Annotated[tuple[tuple[Index, Count], ...], Meta(max_length=MAX_ROWS)]
"""Ranges [a, b) of indexes."""


class Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of specs: immutable, compared by value."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag=True, array_like=True):
    """Base of messages: positional on the wire, tagged by class name."""
