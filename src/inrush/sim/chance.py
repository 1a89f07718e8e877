"""Reproducible chance: a number that a seed and a key determine, the same on every machine and in every run.

Each draw is named (`"start", container`, or in one piece, which is faster, `"start:co-1"`) instead of being taken from
a stream, so that one changed decision does not change all later draws.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from struct import Struct

_TWO = Struct(">QQ").unpack


def uniform(seed: int, *key: object) -> float:
    """A number in [0, 1)."""
    return int.from_bytes(blake2b(_text(seed, key), digest_size=8).digest()) / 2**64


def exponential(seed: int, *key: object) -> float:
    """A positive number with mean 1, such as the gap between independent events."""
    return -math.log1p(-uniform(seed, *key))


def around(mean: float, spread: float, seed: int, *key: object) -> float:
    """A log-normal positive number with this mean. `spread` is the standard deviation of its logarithm; 0 gives the
    mean itself."""
    if spread <= 0:
        return mean
    first, second = _TWO(blake2b(_text(seed, key), digest_size=16).digest())
    radius = math.sqrt(-2 * math.log1p(-first / 2**64))
    normal = radius * math.cos(2 * math.pi * second / 2**64)
    return mean * math.exp(spread * normal - spread * spread / 2)


def _text(seed: int, key: tuple[object, ...]) -> bytes:
    if len(key) == 1:
        return f"{seed}:{key[0]}".encode()
    return ":".join(map(str, (seed, *key))).encode()
