"""Encoding of messages in batches: a frame is a msgpack list of messages of one union.

The two ends of a link tell each other their `PROTOCOL` in the first message (`Hello`, `NodeHello`). The decoder of each
union is in the file of the union.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

PROTOCOL = 1
"""The version of the protocol. It is raised when two versions of inrush can no longer understand each other."""

FRAME = struct.Struct("!I")
"""The length prefix of a frame on a byte stream; the length does not include these four bytes."""

FRAME_LIMIT_BYTES = 64 * 1024 * 1024
"""The longest frame. A longer one is a protocol error, and the link is closed."""

MAX_MESSAGES = 65_536
"""The most messages in one frame."""

UNREADABLE = (msgspec.MsgspecError, RecursionError)
"""The exceptions that decoding raises for a malformed frame: one of another type, nested too deeply, or not msgpack."""

_encoder = msgspec.msgpack.Encoder()


class BatchDecoder(Generic[T]):
    """`decode` decodes batches of one union. It is built on first use, since that takes longer than importing the rest
    of the schema."""

    def __init__(self, union: Any) -> None:
        self._union = union

    @functools.cached_property
    def decode(self) -> Callable[[bytes | memoryview], list[T]]:
        of: Any = Annotated[list[self._union], msgspec.Meta(max_length=MAX_MESSAGES)]  # type: ignore[name-defined]
        return msgspec.msgpack.Decoder(of).decode


def encode(batch: list[Any]) -> bytes:
    """Encodes a batch of messages of one union as the body of one frame."""
    return _encoder.encode(batch)
