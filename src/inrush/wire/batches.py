"""How messages travel: in batches, each one frame.

A frame is a msgpack list of messages of one union. Neighbours tell each other their `PROTOCOL` in their first message
(`Hello`, `NodeHello`). Each union's decoder stands beside the union; what they all share is here.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

PROTOCOL = 1
"""Raised when neighbours of different versions can no longer understand each other."""

FRAME = struct.Struct("!I")
"""Length prefix of a frame on a byte stream; the length excludes these four bytes."""

FRAME_LIMIT_BYTES = 64 * 1024 * 1024
"""A longer frame is a protocol error, and the link is closed."""

MAX_MESSAGES = 65_536
"""Messages of one frame."""

UNREADABLE = (msgspec.MsgspecError, RecursionError)
"""What decoding a frame raises that is none: a message of another type, nested too deeply, or no msgpack at all."""

_encoder = msgspec.msgpack.Encoder()


class BatchDecoder(Generic[T]):
    """`decode` reads batches of one union. It is made when it is first used: reading all those types takes longer than
    importing all the rest of the schema."""

    def __init__(self, union: Any) -> None:
        self._union = union

    @functools.cached_property
    def decode(self) -> Callable[[bytes | memoryview], list[T]]:
        of: Any = Annotated[list[self._union], msgspec.Meta(max_length=MAX_MESSAGES)]  # type: ignore[name-defined]
        return msgspec.msgpack.Decoder(of).decode


def encode(batch: list[Any]) -> bytes:
    """One frame's body: a batch of messages of one union."""
    return _encoder.encode(batch)
