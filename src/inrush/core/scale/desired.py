"""How many containers, and why. Pure: a `Load` and a policy in, a `Decision` out. The theory is in `docs/scaling.md`.

In short: let N inputs wait or run, each taking s seconds, t of them at once in a container. They are `N * s / t`
seconds of work for one container, and the containers wanted are as many as drain that within a horizon H tied to what
a start costs; never more than `N / t`, for a slot without an input is of no use. Ten thousand waiting 1 ms inputs are
ten seconds of work; ten thousand waiting 60 s inputs are a week.

While s is unknown, few are started, and twice as many once those run and no result has come back. The time without any
result, `stall_s`, is a lower bound of s, so it also tells when an estimate is no longer true.

What arrives while a container starts is counted too, at the rate of now (`rate.py`): in a burst that is what matters,
and steady traffic keeps as many containers as it needs and some to spare, whether or not something waits. The
constants are in `tuning.py`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from inrush.core.model.measured import Decision, Measured, Memo, target_of
from inrush.core.model.tuning import TUNING, Tuning
from inrush.core.place.crowd import Room
from inrush.wire import ScalePolicy

LOGISTIC = 1.702
"""A normal deviate is about the logit of its probability divided by this (within 0.01 of probability)."""


class Load(NamedTuple):
    """What there is to do, and with what. `valid` is False while nothing is known, which differs from nothing to do."""

    valid: bool = True
    queued: int = 0
    running: int = 0
    starting: int = 0
    ready: int = 0
    idle: int = 0
    service_s: float | None = None
    start_s: float | None = None
    stall_s: float = 0.0
    """For how long something has run without anything having ended."""
    rate: float = 0.0
    """Inputs that arrive per second."""
    slope: float = 0.0
    """By how many inputs per second the rate grows in a second."""
    starting_mean_s: float = 0.0
    """For how long starting containers have been starting, on average."""
    starting_s: float = 0.0
    """For how long the first of the starting containers has been starting: a lower bound of `start_s`."""
    room: Room = Room()
    """How many containers the processors can serve."""


def desired(load: Load, policy: ScalePolicy, memo: Memo, now: float, tuning: Tuning = TUNING) -> tuple[Decision, Memo]:
    """How many containers a function should have at `now`."""
    have = load.starting + load.ready
    if not load.valid:
        return Decision(have, have, "nothing is known yet: no node has joined"), memo
    need, why, memo = _need(load, policy, memo, tuning)
    need, why, held_back = _affordable(load, need, why)
    wanted = need
    if policy.buffer_containers and (load.queued or load.running):
        busy = 0 if held_back else load.ready - load.idle
        wanted = max(need, busy) + policy.buffer_containers
        why += f", {policy.buffer_containers} more as buffer"
    if wanted < policy.min_containers:
        wanted, why = policy.min_containers, f"{why}, min_containers is {policy.min_containers}"
    if policy.max_containers is not None and wanted > policy.max_containers:
        wanted, why = policy.max_containers, f"{why}, max_containers is {policy.max_containers}"
    return Decision(wanted, have, f"{why}: {wanted} wanted, {have} have", held_back), memo


def horizon_s(start_s: float | None, tuning: Tuning = TUNING) -> float:
    """The time within which a backlog should drain."""
    start_s = start_s or 0.0
    return tuning.horizon_min_s + min(start_s, tuning.horizon_short_s) + tuning.horizon_starts * start_s


def deviation(wanted: int, target: int, measured: Measured) -> float:
    """By how many containers chance alone moves the wanted number while one starts. Of inputs that are long against a
    start, few begin or end in that time."""
    start_s, service_s = measured.start_s, measured.service_s
    changes = 1 - math.exp(-start_s / service_s) if start_s and service_s else 1.0
    return math.sqrt(max(0, wanted) * changes / target)


def keep_s(
    policy: ScalePolicy, measured: Measured, tuning: Tuning = TUNING, last: bool = True, far_above: bool = False
) -> float:
    """The idle timeout of a container that arrivals do not need: of the last one or of one of several. `far_above`
    means that chance will hardly need it again."""
    window_s, start_s = policy.scaledown_window_s, measured.start_s
    if start_s is None:
        return window_s
    if not last:
        ratio = tuning.keep_far_ratio if far_above else tuning.keep_more_ratio
        return min(window_s, max(tuning.keep_more_min_s, ratio * start_s))
    gaps, worth_s = measured.arrivals.gaps, tuning.keep_ratio * start_s
    if gaps.total >= tuning.gap_least:
        worth_s = gaps.keep_s(tuning.gap_price * start_s, measured.service_s or 0.0, window_s)
    return min(window_s, max(tuning.keep_min_s, worth_s))


def _need(load: Load, policy: ScalePolicy, memo: Memo, tuning: Tuning) -> tuple[int, str, Memo]:
    """The containers that the load alone needs, whatever bounds the policy sets."""
    target, inputs = target_of(policy), load.queued + load.running
    above = max(0, load.running - target * load.ready)
    start_s = load.starting_s if load.start_s is None else load.start_s
    within_s = horizon_s(start_s, tuning)
    doing = _doing(load, above)
    need, why = load.ready - load.idle, doing
    if load.queued or above:
        doing = f"{doing}, {_slots(target)}"
        if load.service_s is None or load.stall_s > tuning.stall_factor * load.service_s + within_s:
            need, why, memo = _unknown(load, target, within_s, memo, tuning)
            return need, f"{doing}, {why}", memo
        need = min(math.ceil(inputs / target), max(1, math.ceil(inputs * load.service_s / target / within_s)))
        why = f"{doing}, {_seconds(load.service_s)} an input, to drain in {_seconds(within_s)}"
    if load.service_s and load.rate:
        ahead = math.floor(_expected(load, target, start_s, within_s, tuning) / target + tuning.round_up)
        if ahead > need:
            need, why = ahead, f"{doing}, {_seconds(load.service_s)} an input, {load.rate:.3g} a second arrive"
    return need, why, Memo()


def _affordable(load: Load, need: int, why: str) -> tuple[int, str, str]:
    """What is needed, as far as the processors can serve it, and why that is less: no container is started to compete
    with the others."""
    room, have, held_back = load.room, load.starting + load.ready, ""
    if room.unseen is not None and have <= room.unseen < need:
        return room.unseen, f"{why}, and it is not known yet whether they compute or wait", ""
    if room.serving is not None and need > room.serving:
        need, held_back = room.serving, "the processors of its nodes are busy: more containers would make none faster"
        why = f"{why}, but each uses {room.use:.2g} cores, and more would make none faster"
    if room.starting is not None and need > max(load.ready + room.starting, have):
        need = max(load.ready + room.starting, have)
        held_back = "the processors of its nodes are busy with its starts: more at once would make none faster"
        why = f"{why}, but starts compute, and more than {room.starting} at once would make none faster"
    return need, why, held_back


def _expected(load: Load, target: int, start_s: float, within_s: float, tuning: Tuning) -> float:
    """The number of inputs at once that will need slots when a container that is started now is ready."""
    service_s, inputs = load.service_s or 0.0, load.queued + load.running
    grows = load.slope * tuning.trend_fade_s * (1 - math.exp(-start_s / tuning.trend_fade_s))
    rate_then, rate_until = max(0.0, load.rate + grows), max(0.0, load.rate + grows / 2)
    steady, left = rate_then * service_s, math.exp(-start_s / service_s)
    spare, started = 0.0, 1.0
    if start_s > 0:
        deviations = max(0.0, math.log(start_s / tuning.spare_price_s) / LOGISTIC)
        spare = min(deviations * math.sqrt(steady * (1 - left)), tuning.spare_drain * service_s)
        spare = max(0.0, spare - (target - 1))  # whole containers have up to so many slots to spare already
        started = min(1.0, load.starting_mean_s / start_s)
    room = target * (load.ready + load.starting * started)  # those that start will be there for so much of the time
    then = inputs + max(0.0, start_s * (rate_until - room / service_s))
    if then <= room and not load.queued:
        return steady + (inputs - steady) * left + spare
    late = then - room - min(tuning.patience_starts * start_s, tuning.patience_s) * load.rate
    return min(then, steady + max(spare, late * service_s / within_s))


def _unknown(load: Load, target: int, within_s: float, memo: Memo, tuning: Tuning) -> tuple[int, str, Memo]:
    """The containers to have while the service time is unknown, or no longer what it was: few at first, doubled while
    nothing that runs has ended. Where starts are long, that would cost callers too much, so an input is assumed to last
    as long as a start, with less belief the longer the start is."""
    have, inputs = load.starting + load.ready, load.queued + load.running
    most = math.ceil(inputs / target)
    start_s = load.starting_s if load.start_s is None else load.start_s
    if load.service_s is None and start_s > tuning.dear_start_s:
        part = min(1.0, start_s / within_s, math.sqrt(tuning.guess_s / start_s))
        guess = math.ceil(part * most)
        need = max(have, guess, math.ceil(inputs * load.stall_s / target / within_s))
        return min(most, need), f"service time unknown, a start takes {_seconds(start_s)} or more", memo
    if load.ready == 0:
        return min(most, max(have, tuning.first_starts)), "service time unknown", memo
    enough = math.ceil(inputs * load.stall_s / target / within_s)
    if load.starting == 0 and load.ready > memo.doubled_at and enough > have:
        memo = Memo(load.ready, min(enough, math.ceil(tuning.growth * load.ready)))
    return min(most, max(have, memo.doubled_to)), f"no result for {_seconds(load.stall_s)}", memo


def _doing(load: Load, above: int) -> str:
    if load.queued:
        return f"{load.queued} waiting"
    if above:
        return f"{above} running above the target"
    return f"{load.running} running" if load.running else "nothing waits"


def _slots(target: int) -> str:
    return "1 slot each" if target == 1 else f"{target} slots each"


def _seconds(value: float) -> str:
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
