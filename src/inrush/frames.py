"""Frames between agent and guest: a JSON header and raw payloads, with the standard library alone, since a user's image
may hold any version of msgspec, or none.

On the wire a frame is

    u32 length of what follows | u32 length of the header | header (UTF-8 JSON) | payloads, one after the other

and the header's key `"n"` lists the payloads' lengths (left out when there are none). `docs/architecture.md` lists the
headers.

A header is decoded and checked as soon as it is whole, before its payloads have arrived. A header whose lengths do not
add up, or which announces more payload than its kind may have, ends the link before any of the payload is buffered.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

_HEAD = struct.Struct("!II")

CHUNK_BYTES = 4 * 1024 * 1024
"""The most payload in one `blob` frame; larger payloads are sent in several."""

LIMIT_BYTES = 64 * 1024 * 1024
"""The longest frame. A longer one is a protocol error, and the container is killed."""

MAX_HEADER_BYTES = 4 * 1024 * 1024
"""The longest header of a frame from the agent. A guest's may be shorter (`agent.containers.headers`)."""

MAX_PAYLOADS = 4096
"""The most payloads, and the most inputs, in one frame."""

AHEAD_PIECES = 8
"""Pieces of a web response that may be sent before its client has granted any."""

FEED_COST_BYTES = 256
"""What each piece of a request to a web app counts beyond its bytes, in the window that both sides keep."""

H = TypeVar("H")


class FrameError(ValueError):
    """The other side broke the protocol."""


def _encode(header: Any) -> bytes:
    """A header as JSON. Lone surrogates, which file names may contain, become question marks."""
    return _encoder.encode(header).encode("utf-8", "replace")


_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False)


def pack(header: dict[str, Any], payloads: Sequence[bytes] = (), encode: Callable[[Any], bytes] = _encode) -> bytes:
    """Packs one frame. `encode` turns the header into JSON; the agent passes a faster one than the standard
    library's."""
    if payloads:
        header = {**header, "n": [len(p) for p in payloads]}
    head = encode(header)
    body = b"".join(payloads)
    return b"".join((_HEAD.pack(4 + len(head) + len(body), len(head)), head, body))


def check_lengths(lengths: Any, body: int) -> Sequence[int]:
    """Returns the payloads' lengths as the header lists them. Raises `FrameError` unless there are at most
    `MAX_PAYLOADS`, none is negative, and they add up to `body`, the bytes of payload in the frame."""
    if not isinstance(lengths, list | tuple) or len(lengths) > MAX_PAYLOADS:
        raise FrameError(f"the lengths of payloads are no list of at most {MAX_PAYLOADS}")
    if lengths and (set(map(type, lengths)) != {int} or min(lengths) < 0):
        raise FrameError("the length of a payload is no count of bytes")
    if sum(lengths) != body:
        raise FrameError(f"the lengths of payloads add up to {sum(lengths)}, and the frame has {body} bytes for them")
    return lengths


def plain_header(head: bytes, body: int) -> tuple[dict[str, Any], Sequence[int]]:
    """Decodes a header to a dict with its kind `t`, and its payloads' lengths. Raises `FrameError`."""
    try:
        header = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"malformed header: {type(error).__name__}") from None
    if not isinstance(header, dict) or not isinstance(header.get("t"), str):
        raise FrameError("a header without a kind")
    return header, check_lengths(header.get("n", ()), body)


Decode = Callable[[bytes, int], tuple[H, Sequence[int]]]
"""Decodes a header that is followed by so many bytes of payloads: returns its content, and the payloads' lengths, which
add up to those bytes. Raises `FrameError` for a malformed header."""


class Parser(Generic[H]):
    """Splits a byte stream into frames."""

    def __init__(self, decode: Decode[H], max_header_bytes: int = MAX_HEADER_BYTES) -> None:
        self._decode = decode
        self._max_header_bytes = max_header_bytes
        self._buffer = bytearray()
        self._next: tuple[H, Sequence[int], int] | None = None
        """A frame whose header has arrived and whose payloads have not: the header, the lengths, their sum."""

    @property
    def pending_bytes(self) -> int:
        """The bytes of an unfinished frame that have arrived; 0 between frames."""
        return len(self._buffer) + (self._next is not None)

    def feed(self, data: bytes) -> list[tuple[H, list[bytes]]]:
        """Takes `data`, and returns the frames that are complete now. Raises `FrameError` for a frame that is too long
        or malformed."""
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
