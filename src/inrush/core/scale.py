"""How many containers, and why. Pure: a `Load` and a policy in, a `Decision` out. The theory is in `docs/scaling.md`.

In short: let N inputs wait or run, each taking s seconds, t of them at once in a container. They are `N * s / t`
seconds of work for one container, and the containers wanted are as many as drain that within a horizon H tied to what
a start costs; never more than `N / t`, for a slot without an input is of no use. Ten thousand waiting 1 ms inputs are
ten seconds of work; ten thousand waiting 60 s inputs are a week.

While s is unknown, few are started, and twice as many once those run and no result has come back. The time without any
result, `stall_s`, is a lower bound of s, so it also tells when an estimate is no longer true.

A burst is a rate of arrivals over the last second that is several times that over the last minute. While it lasts no
container is let go, and containers are wanted also for what will arrive until one that is started now is ready. The
constants are in `tuning.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from inrush.core.tuning import TUNING, Tuning
from inrush.wire import ScalePolicy


class Load(NamedTuple):
    """What there is to do, and with what. Without `valid` nothing is known, which is not the same as nothing to do."""

    valid: bool = True
    queued: int = 0
    running: int = 0
    concurrency: float = 0.0
    """Inputs running at once, averaged."""
    starting: int = 0
    ready: int = 0
    idle: int = 0
    service_s: float | None = None
    start_s: float | None = None
    stall_s: float = 0.0
    """For how long something has run and nothing has ended."""
    burst: float = 0.0
    """Inputs that arrive in a second, if that is a burst; else 0."""


class Decision(NamedTuple):
    """`wanted` containers, against those that serve or start already; `why` is a sentence for people."""

    wanted: int
    have: int
    why: str


class Memo(NamedTuple):
    """What one decision tells the next while the service time is unknown: with how many ready containers the last
    doubling was decided, and to how many."""

    doubled_at: int = 0
    doubled_to: int = 0


@dataclass(slots=True, eq=False)
class Measured:
    """What was learned of a function by watching it. None: not known yet."""

    start_s: float | None = None
    service_s: float | None = None
    concurrency: float = 0.0
    seen_at: float = 0.0
    progress_at: float = 0.0
    """When an attempt last ended, a container last became ready, or the first input was dispatched after a pause."""
    arrived_at: float = 0.0
    short_rate: float = 0.0
    long_rate: float = 0.0
    """Inputs a second over the short and the long window, when inputs last arrived; they decay from then on."""
    tuning: Tuning = TUNING

    def arrived(self, count: int, now: float) -> None:
        """So many inputs arrived."""
        tuning, passed = self.tuning, now - self.arrived_at
        if passed > 0:
            self.short_rate *= math.exp(-passed / tuning.burst_short_s)
            self.long_rate *= math.exp(-passed / tuning.burst_long_s)
            self.arrived_at = now
        self.short_rate += count / tuning.burst_short_s
        self.long_rate += count / tuning.burst_long_s

    def burst(self, now: float) -> float:
        """Inputs a second on the short window, if they are a burst against the long one; else 0."""
        tuning, passed = self.tuning, now - self.arrived_at
        short = self.short_rate * math.exp(-passed / tuning.burst_short_s)
        if short * tuning.burst_short_s < tuning.burst_least:
            return 0.0
        usual = self.long_rate * math.exp(-passed / tuning.burst_long_s)
        return short if short >= tuning.burst_factor * usual else 0.0

    def started(self, seconds: float, now: float) -> None:
        """A container became ready, so long after it was placed."""
        weight = self.tuning.start_weight
        self.start_s = seconds if self.start_s is None else self.start_s + weight * (seconds - self.start_s)
        self.progress_at = now

    def served(self, seconds: float, count: int, now: float) -> None:
        """`count` attempts ended, which took `seconds` each on average."""
        if self.service_s is None:
            self.service_s = seconds
        else:
            each = self.tuning.service_weight
            weight = each if count == 1 else 1.0 - (1.0 - each) ** min(count, 16)
            self.service_s += weight * (seconds - self.service_s)
        self.progress_at = now

    def observe(self, running: int, now: float) -> None:
        """So many inputs ran at once since the last time this was called."""
        passed = now - self.seen_at
        if passed > 0:
            self.concurrency += (running - self.concurrency) * passed / (passed + self.tuning.concurrency_tau_s)
            self.seen_at = now


def desired(load: Load, policy: ScalePolicy, memo: Memo, now: float, tuning: Tuning = TUNING) -> tuple[Decision, Memo]:
    """How many containers a function should have at `now`."""
    have = load.starting + load.ready
    if not load.valid:
        return Decision(have, have, "nothing is known yet: no node has joined"), memo
    need, why, memo = _need(load, policy, memo, tuning)
    wanted = need
    if policy.buffer_containers and (load.queued or load.running):
        wanted = max(need, load.ready - load.idle) + policy.buffer_containers
        why += f", {policy.buffer_containers} more as buffer"
    if wanted < policy.min_containers:
        wanted, why = policy.min_containers, f"{why}, min_containers is {policy.min_containers}"
    if policy.max_containers is not None and wanted > policy.max_containers:
        wanted, why = policy.max_containers, f"{why}, max_containers is {policy.max_containers}"
    return Decision(wanted, have, f"{why}: {wanted} wanted, {have} have"), memo


def horizon_s(start_s: float | None, tuning: Tuning = TUNING) -> float:
    """The time within which a backlog should drain."""
    return tuning.horizon_min_s + tuning.horizon_starts * (start_s or 0.0)


def keep_s(policy: ScalePolicy, start_s: float | None, tuning: Tuning = TUNING) -> float:
    """How long an idle container stays."""
    if start_s is None:
        return policy.scaledown_window_s
    return min(policy.scaledown_window_s, max(tuning.keep_min_s, tuning.keep_ratio * start_s))


def target_of(policy: ScalePolicy) -> int:
    """Inputs at once in one container that scaling aims at."""
    slots = slots_of(policy)
    return min(slots, max(1, policy.target_inputs or slots))


def slots_of(policy: ScalePolicy) -> int:
    """Inputs at once in one container, at most."""
    return 1 if policy.single_use else max(1, policy.max_inputs)


def _need(load: Load, policy: ScalePolicy, memo: Memo, tuning: Tuning) -> tuple[int, str, Memo]:
    """Containers for the load alone, whatever the bounds of the policy."""
    target = target_of(policy)
    above = max(0, load.running - target * load.ready)
    if not load.queued and not above:
        steady = math.ceil(round(load.concurrency / target, 3)) if load.running else 0
        doing = f"{load.running} running" if load.running else "nothing waits"
        return max(load.ready - load.idle, steady), doing, Memo()
    waiting = f"{load.queued} waiting" if load.queued else f"{above} running above the target"
    most = math.ceil((load.queued + load.running) / target)
    within_s = horizon_s(load.start_s, tuning)
    if load.service_s is None or load.stall_s > tuning.stall_factor * load.service_s + within_s:
        need, why, memo = _unknown(load, most, target, memo, tuning)
        return need, f"{waiting}, {_slots(target)}, {why}", memo
    inputs = load.queued + load.running
    why = f"{waiting}, {_slots(target)}, {_seconds(load.service_s)} an input, to drain in {_seconds(within_s)}"
    need = _drained(inputs, load.service_s, within_s, target)
    expected = min(inputs, int(load.burst * (load.start_s or 0.0) * tuning.burst_ahead))
    ahead = _drained(inputs + expected, load.service_s, within_s, target)
    if ahead > need:
        need, why = (
            ahead,
            f"{why}; a burst of {load.burst:.3g} a second, of which {expected} come before a start is done",
        )
    return need, why, Memo()


def _drained(inputs: int, service_s: float, within_s: float, target: int) -> int:
    """Containers that drain so many inputs in time, none without an input."""
    return min(math.ceil(inputs / target), max(1, math.ceil(inputs * service_s / target / within_s)))


def _unknown(load: Load, most: int, target: int, memo: Memo, tuning: Tuning) -> tuple[int, str, Memo]:
    """Nothing is known, or what was known is no longer true: few first, and double while all that runs keeps silent."""
    have = load.starting + load.ready
    if load.ready == 0:
        return min(most, max(have, tuning.first_starts)), "service time unknown", memo
    work_s = (load.queued + load.running) * load.stall_s / target
    enough = math.ceil(work_s / horizon_s(load.start_s, tuning))
    why = f"no result for {_seconds(load.stall_s)}"
    if load.starting == 0 and load.ready > memo.doubled_at and enough > have:
        memo = Memo(load.ready, min(enough, math.ceil(tuning.growth * load.ready)))
    return min(most, max(have, memo.doubled_to)), why, memo


def _slots(target: int) -> str:
    return "1 slot each" if target == 1 else f"{target} slots each"


def _seconds(value: float) -> str:
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
