"""When an input is tried again, and when it is given up.

- User code failed (ERROR, TIMEOUT, …): the user's `Retries` decide. The n-th retry waits `min(initial_delay_s *
  backoff_coefficient ** (n - 1), max_delay_s)`.
- The node or the link went away (LOST): the input is tried again at once and no retry is spent, since this says nothing
  about the input. An input during which node after node disappears is given up in the end.
- The container was preempted: the input is tried again at once, and nothing is counted, however often this happens.
- The container died (CRASHED, OUT_OF_MEMORY): an input that was alone in it is charged as for a failure of user code.
  Where others ran beside it, nobody knows which one caused the crash, so all are tried again at once, free of charge.
  An input that was there twice is a suspect, and runs alone.
- A call that yields to somebody (a generator, a web request) is never tried again once it was started, since half of it
  may have been seen.
"""

from __future__ import annotations

from typing import NamedTuple

from inrush.core.model.calls import Tries
from inrush.wire import Retries, Status

ONCE_ONLY = frozenset({"gen", "web"})
"""Kinds of calls whose inputs are never tried twice."""

SUSPECT_AFTER = 2
"""After so many crashes an input runs in a container of its own, so that the next crash shows whether it is the
cause."""

SHARED_CRASHES_MAX = 8
"""After so many crashes beside other inputs, an input is charged for a crash like any other failure."""

LOSSES_MAX = 16
"""After so many lost nodes an input is given up."""


class End(NamedTuple):
    """How an attempt ended. `alone` is True when nothing else ran in its container at the time."""

    status: int
    alone: bool = True
    preempted: bool = False
    """The container had to stop for others, or for another reason of the scheduler's."""


class Verdict(NamedTuple):
    """`delay_s` until the next try, or None to give up. `why` is empty where the error of user code says everything."""

    delay_s: float | None
    tries: Tries
    why: str = ""


def next_try(policy: Retries, kind: str, tries: Tries, end: End) -> Verdict:
    """What follows for an input with these `tries` behind it."""
    status = Status(end.status)
    if status is Status.OK or (status is Status.CANCELLED and not end.preempted):
        return Verdict(None, tries)
    if kind in ONCE_ONLY:
        return Verdict(
            None, tries, "" if status is Status.ERROR else "it had been started, and what streams is not tried twice"
        )
    if end.preempted and status in (Status.LOST, Status.CANCELLED):
        return Verdict(0.0, tries, "its container had to go")
    if status is Status.LOST:
        return _lost(tries)
    if status in (Status.CRASHED, Status.OUT_OF_MEMORY) and not end.alone and tries.crashes < SHARED_CRASHES_MAX:
        crashes = tries.crashes + 1
        why = f"its container died while others ran beside it, {crashes} of {SHARED_CRASHES_MAX} times"
        return Verdict(0.0, tries._replace(crashes=crashes), why)
    return _charged(policy, tries, status)


def delay_s(policy: Retries, nth: int) -> float:
    """The delay before the n-th retry (from 1). However large n is, it is finite."""
    try:
        return min(policy.initial_delay_s * policy.backoff_coefficient ** (nth - 1), policy.max_delay_s)
    except OverflowError:
        return policy.max_delay_s


def _lost(tries: Tries) -> Verdict:
    losses = tries.losses + 1
    if losses > LOSSES_MAX:
        return Verdict(None, tries, f"its node went away {losses} times while it ran")
    return Verdict(0.0, tries._replace(losses=losses), f"its node went away, {losses} of {LOSSES_MAX} times")


def _charged(policy: Retries, tries: Tries, status: Status) -> Verdict:
    nth = tries.retries + 1
    if nth > policy.max_retries:
        tried = f"tried {nth} times" if nth > 1 else ""
        return Verdict(None, tries, "" if status is Status.ERROR else tried)
    wait = delay_s(policy, nth)
    return Verdict(wait, tries._replace(retries=nth), f"retry {nth} of {policy.max_retries} in {wait:g} s")
