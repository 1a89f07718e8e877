"""Payloads of several parts: a pickle, and the large buffers that it leaves out (pickle protocol 5).

A numpy array is mostly its buffer. When the buffer is left out of the pickle, it is written once from where it lies,
and used where it arrives, without a copy in between. The bytes of such a payload are

    "O" | 7 zero bytes | u64 buffers | u64 length of the pickle | u64 length of each buffer | pickle | buffers

with the pickle and each buffer at a multiple of 64 bytes. Only the standard library is used: the guest imports this.
"""

from __future__ import annotations

import contextlib
import pickle
import struct
from collections.abc import Callable, Sequence

CODEC = b"O"
"""The first byte of a payload of several parts."""

LEAST_BYTES = 256 * 1024
"""Buffers up to this size stay in the pickle, so that the payload may fit into a message."""

_ALIGN = 64
_WORD = struct.Struct("<Q")


class Buffers(list[memoryview]):
    """Collects large buffers during pickling; pickle calls it with each buffer."""

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        """Returns True if the buffer stays in the pickle."""
        try:
            raw = buffer.raw()
        except BufferError:
            return True
        if raw.nbytes <= LEAST_BYTES:
            return True
        self.append(raw)
        return False


class Parts:
    """A payload of several `pieces`, which follow one another on the wire."""

    __slots__ = ("pieces", "size")

    def __init__(self, pickled: bytes, buffers: Sequence[memoryview]) -> None:
        sizes = [len(pickled), *(buffer.nbytes for buffer in buffers)]
        head = CODEC + bytes(7) + b"".join(_WORD.pack(n) for n in (len(buffers), *sizes))
        self.pieces: list[bytes | memoryview] = [head, _padding(len(head))]
        whole: list[bytes | memoryview] = [pickled, *buffers]
        for piece, size in zip(whole, sizes, strict=True):
            self.pieces += [piece, _padding(size)]
        self.size = sum(memoryview(piece).nbytes for piece in self.pieces)

    def __len__(self) -> int:
        return self.size

    def release(self) -> None:
        """Releases the buffers at once. Python up to 3.11 may crash when it finds such views in a cycle of garbage,
        which the traceback of an exception can be."""
        for piece in self.pieces:
            if isinstance(piece, memoryview):
                with contextlib.suppress(BufferError):  # an error's traceback still holds a part of it
                    piece.release()
        self.pieces = []


def dump(dumps: Callable[[Buffers], bytes], codec: bytes) -> bytes | Parts:
    """The payload that `dumps(buffer_callback)` makes: `Parts`, or `codec` and the pickle if it has no large buffer. A
    `dumps` that pickles twice must clear the buffers in between."""
    buffers = Buffers()
    pickled = dumps(buffers)
    return Parts(pickled, buffers) if buffers else codec + pickled


def load(payload: bytes | memoryview) -> object:
    """Unpickles the value. Its buffers use the payload's memory, and are writable if that is. Raises `ValueError` for a
    malformed payload, and whatever unpickling raises."""
    view = memoryview(payload)
    (count,) = _WORD.unpack_from(view, 8)
    if count > view.nbytes // _WORD.size:
        raise ValueError("a payload says that it has more buffers than fit")
    sizes = [_WORD.unpack_from(view, 16 + 8 * n)[0] for n in range(count + 1)]
    at = _aligned(24 + 8 * count)
    found = []
    for size in sizes:
        found.append(view[at : at + size])
        at += _aligned(size)
    return pickle.loads(found[0], buffers=found[1:])  # noqa: S301 - from the caller, who owns the code too


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _padding(size: int) -> bytes:
    return bytes(_aligned(size) - size)
