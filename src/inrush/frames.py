"""Frames between agent and guest: a JSON header and raw payloads, with the standard library alone.

A user's image may hold any msgspec or none, so this link does not use it. On the wire a frame is

    u32 length of what follows | u32 length of the header | header (UTF-8 JSON) | payloads, one behind the other

and the header's key `"n"` lists the payloads' lengths (left out when there are none). `docs/architecture.md` lists
the headers.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any

_HEAD = struct.Struct("!II")

CHUNK_BYTES = 4 * 1024 * 1024
"""Payloads over the inline limit cross in `blob` frames of at most this size."""

LIMIT_BYTES = 64 * 1024 * 1024
"""A longer frame is a protocol error; the container is killed."""

_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False)


def _encode(header: Any) -> bytes:
    return _encoder.encode(header).encode()


class FrameError(ValueError):
    """The other side broke the protocol."""


def pack(header: dict[str, Any], payloads: Sequence[bytes] = (), encode: Callable[[Any], bytes] = _encode) -> bytes:
    """One frame. `encode` makes JSON; whoever has a faster one than the standard library's brings it."""
    if payloads:
        header = {**header, "n": [len(p) for p in payloads]}
    head = encode(header)
    body = b"".join(payloads)
    return b"".join((_HEAD.pack(4 + len(head) + len(body), len(head)), head, body))


class Parser:
    """Cuts a byte stream into frames. Feed it what arrived; it returns the frames that are whole. `decode` reads JSON,
    and raises `ValueError` for what is none."""

    def __init__(self, decode: Callable[[bytes], Any] = json.loads) -> None:
        self._decode = decode
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[dict[str, Any], list[bytes]]]:
        """Frames completed by `data`. Raises `FrameError` on a frame that is too long or malformed."""
        buffer = self._buffer
        buffer += data
        frames: list[tuple[dict[str, Any], list[bytes]]] = []
        at = 0
        while len(buffer) - at >= 8:
            length, head_length = _HEAD.unpack_from(buffer, at)
            if length > LIMIT_BYTES or head_length > length - 4:
                raise FrameError(f"frame of {length} bytes with a header of {head_length}")
            end = at + 4 + length
            if len(buffer) < end:
                break
            frames.append(self._cut(at + 8, head_length, end))
            at = end
        del buffer[:at]
        return frames

    def _cut(self, start: int, head_length: int, end: int) -> tuple[dict[str, Any], list[bytes]]:
        buffer, at = self._buffer, start + head_length
        try:
            header = self._decode(bytes(buffer[start:at]))
            payloads = []
            for length in header.get("n", ()):
                payloads.append(bytes(buffer[at : at + length]))
                at += length
        except (ValueError, AttributeError, TypeError) as error:
            raise FrameError(f"malformed header: {error}") from None
        if at != end:
            raise FrameError("payload lengths do not add up")
        return header, payloads
