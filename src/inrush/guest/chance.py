"""Fresh randomness in a process just forked from a template: all its children begin with the same state of every
generator of random numbers, and OpenSSL's too when their process ids are equal, as they are in namespaces of their own.

`random`'s, numpy's and torch's global generators are seeded anew, whatever seeded them before. Of numpy's generators
that user code holds, those are renewed that were made without a seed: their seed is 128 bits from the operating system,
while seeds that people choose are small. `uuid`, `secrets` and `os.urandom` need nothing. The hash seed of a template
(`hash("a")`) is shared by its children: it cannot be changed in a process that lives.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

_DRAWN = 1 << 64
"""A seed beyond this was drawn, not chosen."""


class Chance:
    """Made in the template, before its objects are frozen and so no longer found; `renew` is for the child."""

    def __init__(self) -> None:
        bits = getattr(sys.modules.get("numpy.random"), "BitGenerator", None)
        # By type: `isinstance` asks objects for their `__class__`, and some of torch's warn of being asked anything.
        found = [thing for thing in gc.get_objects() if issubclass(type(thing), bits)] if bits is not None else []
        self._generators = [generator for generator in found if _was_drawn(generator)]

    def renew(self) -> None:
        """In the child."""
        reseed()
        for generator in self._generators:
            generator.state = type(generator)().state


def warm() -> None:
    """In a template: what OpenSSL makes before it gives its first random number is made once, not in every child."""
    if "_ssl" in sys.modules:
        sys.modules["_ssl"].RAND_add(b"", 0.0)


def reseed() -> None:
    """The generators that libraries keep for all."""
    loaded = sys.modules
    if "random" in loaded:
        loaded["random"].seed()
    if "numpy.random" in loaded:
        loaded["numpy.random"].seed(int.from_bytes(os.urandom(4)))
    if hasattr(loaded.get("torch"), "manual_seed"):
        loaded["torch"].manual_seed(int.from_bytes(os.urandom(7)))
    if "_ssl" in loaded:
        loaded["_ssl"].RAND_add(os.urandom(32), 32.0)


def _was_drawn(generator: Any) -> bool:
    entropy = getattr(getattr(generator, "seed_seq", None), "entropy", None)
    return isinstance(entropy, int) and entropy >= _DRAWN
