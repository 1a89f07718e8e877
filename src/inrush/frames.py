"""Frames between agent and guest: a JSON header and raw payloads, with the standard library alone.

A user's image may hold any msgspec or none, so this link does not use it. On the wire a frame is

    u32 length of what follows | u32 length of the header | header (UTF-8 JSON) | payloads, one behind the other

and the header's key `"n"` lists the payloads' lengths (left out when there are none). `docs/architecture.md` lists
the headers.

A header is decoded and checked as soon as it is whole, before its payloads have arrived: lengths that do not add up, or
a kind of frame with more payload than that kind may have, end the link before anything of it is kept.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

_HEAD = struct.Struct("!II")

CHUNK_BYTES = 4 * 1024 * 1024
"""Payloads over the inline limit cross in `blob` frames of at most this size."""

LIMIT_BYTES = 64 * 1024 * 1024
"""A longer frame is a protocol error; the container is killed."""

MAX_HEADER_BYTES = 4 * 1024 * 1024
"""So long may be the header of a frame that the agent sends; a guest may send less (`agent.containers.headers`)."""

MAX_PAYLOADS = 4096
"""Payloads, and inputs, that one frame may have."""

AHEAD_PIECES = 8
"""Pieces of a web response that may leave before its client has granted any."""

FEED_COST_BYTES = 256
"""What each piece that a web app is fed counts in addition to its bytes, on both sides."""

H = TypeVar("H")


class FrameError(ValueError):
    """The other side broke the protocol."""


def _encode(header: Any) -> bytes:
    """Text that is no Unicode (halves of surrogate pairs, as file names may have) crosses with question marks."""
    return _encoder.encode(header).encode("utf-8", "replace")


_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False)


def pack(header: dict[str, Any], payloads: Sequence[bytes] = (), encode: Callable[[Any], bytes] = _encode) -> bytes:
    """One frame. `encode` makes JSON; whoever has a faster one than the standard library's brings it."""
    if payloads:
        header = {**header, "n": [len(p) for p in payloads]}
    head = encode(header)
    body = b"".join(payloads)
    return b"".join((_HEAD.pack(4 + len(head) + len(body), len(head)), head, body))


def check_lengths(lengths: Any, body: int) -> Sequence[int]:
    """The payloads' lengths, as a header gives them. Raises `FrameError` unless they are few, none is negative, and
    they add up to the bytes that the frame has for them."""
    if not isinstance(lengths, list | tuple) or len(lengths) > MAX_PAYLOADS:
        raise FrameError(f"the lengths of payloads are no list of at most {MAX_PAYLOADS}")
    if lengths and (set(map(type, lengths)) != {int} or min(lengths) < 0):
        raise FrameError("the length of a payload is no count of bytes")
    if sum(lengths) != body:
        raise FrameError("payload lengths do not add up")
    return lengths


def plain_header(head: bytes, body: int) -> tuple[dict[str, Any], Sequence[int]]:
    """A header as a dict with its kind, and its payloads' lengths. Raises `FrameError`."""
    try:
        header = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"malformed header: {type(error).__name__}") from None
    if not isinstance(header, dict) or not isinstance(header.get("t"), str):
        raise FrameError("a header without a kind")
    return header, check_lengths(header.get("n", ()), body)


Decode = Callable[[bytes, int], tuple[H, Sequence[int]]]
"""Reads a header, told how many bytes of payloads follow it: what it says, and the payloads' lengths, which add up to
them. Raises `FrameError` for anything else."""


class Parser(Generic[H]):
    """Cuts a byte stream into frames. Feed it what arrived; it returns the frames that are whole."""

    def __init__(self, decode: Decode[H], max_header_bytes: int = MAX_HEADER_BYTES) -> None:
        self._decode = decode
        self._max_header_bytes = max_header_bytes
        self._buffer = bytearray()
        self._next: tuple[H, Sequence[int], int] | None = None
        """The frame whose header is whole and whose payloads are not: header, lengths, their sum."""

    @property
    def pending_bytes(self) -> int:
        """The bytes of an unfinished frame that have arrived; 0 between frames."""
        return len(self._buffer) + (self._next is not None)

    def feed(self, data: bytes) -> list[tuple[H, list[bytes]]]:
        """Frames completed by `data`. Raises `FrameError` on a frame that is too long or malformed."""
        buffer = self._buffer
        buffer += data
        frames: list[tuple[H, list[bytes]]] = []
        at, here = 0, len(buffer)
        while True:
            if self._next is None:
                if here - at < 8:
                    break
                length, head_length = _HEAD.unpack_from(buffer, at)
                if length > LIMIT_BYTES or not 0 < head_length <= min(length - 4, self._max_header_bytes):
                    raise FrameError(f"frame of {length} bytes with a header of {head_length}")
                if here - at < 8 + head_length:
                    break
                at += 8 + head_length
                body = length - 4 - head_length
                header, lengths = self._decode(bytes(buffer[at - head_length : at]), body)
            else:
                header, lengths, body = self._next
            if here - at < body:
                self._next = header, lengths, body
                break
            self._next = None
            frames.append((header, self._cut(at, lengths)))
            at += body
        del buffer[:at]
        return frames

    def _cut(self, at: int, lengths: Sequence[int]) -> list[bytes]:
        buffer, payloads = self._buffer, []
        for length in lengths:
            payloads.append(bytes(buffer[at : at + length]))
            at += length
        return payloads


def plain_parser() -> Parser[dict[str, Any]]:
    """A parser of headers as dicts."""
    return Parser(plain_header)
