"""Reseeding random generators after a fork. All children of a template begin with the same state of every generator,
and of OpenSSL's too when their process ids are equal, as they are in pid namespaces of their own.

The global generators of `random`, numpy and torch are always reseeded. Of the numpy generators that user code holds,
only those that were made without a seed are: their seed is 128 bits from the operating system, while seeds that people
choose are small. `uuid`, `secrets` and `os.urandom` need nothing. The children of a template share its hash seed
(`hash("a")`), which cannot be changed in a running process.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

_DRAWN = 1 << 64
"""A larger seed came from the operating system, and was not chosen by a person."""


class RandomGenerators:
    """The random generators of a template. It is made in the template before `gc.freeze`, which hides objects from
    `gc.get_objects`; each child calls `renew`."""

    def __init__(self) -> None:
        bits = getattr(sys.modules.get("numpy.random"), "BitGenerator", None)
        # By type: `isinstance` asks objects for their `__class__`, and some of torch's warn of being asked anything.
        found = [thing for thing in gc.get_objects() if issubclass(type(thing), bits)] if bits is not None else []
        self._generators = [generator for generator in found if _was_drawn(generator)]

    def renew(self) -> None:
        """Reseeds all generators; called in the child."""
        reseed()
        for generator in self._generators:
            generator.state = type(generator)().state


def warm() -> None:
    """Has OpenSSL set up its random generator in the template, so that not every child has to."""
    if "_ssl" in sys.modules:
        sys.modules["_ssl"].RAND_add(b"", 0.0)


def reseed() -> None:
    """Reseeds the global generators of the libraries that are loaded."""
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
