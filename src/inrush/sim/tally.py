"""What a simulation counts as it goes on."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from inrush.core.model import effects
from inrush.errors import InternalError

DIGESTED_BYTES = 1 << 16
"""Decisions go into the digest so many bytes at a time."""


class Unsound(InternalError):
    """The core contradicts itself: a defect. The seed and the commit give the same run again."""


class FunctionTally:
    """Of one function."""

    __slots__ = ("calls", "failed", "inputs", "waited_s")

    def __init__(self) -> None:
        self.calls = 0
        self.inputs = 0
        self.failed = 0
        self.waited_s = array("d")
        """Of each input that has begun: from its arrival until then."""


class Tally:
    """Of all."""

    def __init__(self) -> None:
        self.functions: dict[str, FunctionTally] = {}
        self.calls = 0
        self.cold_starts = 0
        self.gpu_s_used = 0.0
        self.gpu_s_paid = 0.0
        self.decisions = 0
        self.steps = 0
        self.checks = 0
        self.preemptions = 0
        self.step_s = array("d")
        self._digest = blake2b(digest_size=16)
        self._encode = msgspec.msgpack.Encoder().encode_into
        self._undigested = bytearray()
        self._open: dict[str, _Open] = {}

    @property
    def open(self) -> int:
        """Calls that have not ended."""
        return len(self._open)

    @property
    def digest(self) -> str:
        """Of every effect of every step, with its time."""
        self._swallow()
        return self._digest.hexdigest()

    @property
    def calls_lost(self) -> int:
        """Calls of which some input ended otherwise than well, or not at all."""
        return sum(function.failed for function in self.functions.values()) + sum(
            not call.failed for call in self._open.values()
        )

    def decided(self, now: float, out: list[effects.Effect]) -> None:
        """The answer to one step."""
        self.decisions += len(out)
        self._encode((now, out), self._undigested, -1)
        if len(self._undigested) > DIGESTED_BYTES:
            self._swallow()

    def _swallow(self) -> None:
        self._digest.update(self._undigested)
        self._undigested.clear()

    def arrived(self, now: float, function: str, call: str, inputs: int) -> None:
        self.calls += 1
        tally = self.functions.get(function)
        if tally is None:
            tally = self.functions[function] = FunctionTally()
        tally.calls += 1
        tally.inputs += inputs
        self._open[call] = _Open(now, inputs, tally)

    def began(self, now: float, call: str, index: int) -> None:
        """The first time that an input begins ends its time in the queue."""
        opened = self._open.get(call)
        if opened is not None and not opened.begun[index]:
            opened.begun[index] = 1
            opened.function.waited_s.append(now - opened.at)

    def resolved(self, effect: effects.Resolve) -> bool:
        """Results; true when they are the call's last."""
        opened = self._open[effect.call]
        if not opened.failed and any(effect.statuses):
            opened.failed = True
            opened.function.failed += 1
        opened.left -= len(effect.indexes)
        if opened.left:
            return False
        del self._open[effect.call]
        return True


class _Open:
    """A call that has not ended."""

    __slots__ = ("at", "begun", "failed", "function", "left")

    def __init__(self, at: float, inputs: int, function: FunctionTally) -> None:
        self.at = at
        self.left = inputs
        self.failed = False
        self.function = function
        self.begun = bytearray(inputs)


def percentile(ascending: Sequence[float], percent: float) -> float:
    """Nearest rank; 0 where there is nothing."""
    if not ascending:
        return 0.0
    return ascending[max(0, math.ceil(len(ascending) * percent / 100) - 1)]
