"""Applies scaling: the load of a function goes in, more containers are asked for, and idle ones are stopped."""

from __future__ import annotations

import math

from inrush.core.containers.lifecycle import drain, stop
from inrush.core.model.effects import Decided
from inrush.core.model.functions import Function
from inrush.core.model.measured import Decision
from inrush.core.model.state import State
from inrush.core.place.crowd import room_for
from inrush.core.scale.desired import Load, desired, deviation, horizon_s, keep_s


def review(state: State, function: Function) -> None:
    """Decides how many containers the function should have, and acts on it."""
    function.poked, function.review_at = False, math.inf
    function.look_at = state.now + pause_s(state, function)
    if function.removed:
        return
    load = load_of(state, function)
    decision, function.memo = desired(load, function.policy, function.memo, state.now, state.tuning)
    function.wanted, function.held_back = decision.wanted, decision.held_back
    _record(state, function, decision)
    blocked = state.now < function.trouble.blocked_until
    if decision.wanted > function.live and not blocked:
        state.hungry[function.id] = function
        state.provision_due = True
    else:
        state.hungry.pop(function.id, None)
        function.refusal = ""
    _shrink(state, function)
    if load.room.serving is not None:
        _thin_out(state, function, load.room.serving)
    _plan_next(state, function, blocked)


def pause_s(state: State, function: Function) -> float:
    """How often a function that has something to do is reviewed."""
    tuning = state.tuning
    share_s = horizon_s(function.measured.start_s, tuning) * tuning.review_share
    return min(max(share_s, tuning.review_min_s), tuning.review_max_s)


def load_of(state: State, function: Function) -> Load:
    """What scaling needs to know of a function now."""
    measured, now = function.measured, state.now
    rate, slope = measured.arrivals.now(now)
    running = function.running - function.leased  # what is leased has not begun: it waits
    stall_s = now - measured.progress_at if function.running else 0.0
    return Load(
        valid=bool(state.nodes or state.pools),
        queued=function.queued + function.leased,
        running=running,
        starting=function.counts["starting"],
        ready=function.counts["ready"],
        idle=len(function.idle),
        service_s=measured.service_s,
        start_s=measured.start_s,
        stall_s=stall_s,
        rate=rate,
        slope=slope,
        starting_mean_s=_starting_mean_s(function, now),
        starting_s=_starting_s(function, now),
        room=room_for(state, function, stall_s),
    )


def _starting_mean_s(function: Function, now: float) -> float:
    count = function.counts["starting"]
    return now - function.started_at_sum / count if count else 0.0


def _starting_s(function: Function, now: float) -> float:
    """For how long the first of the starting containers has been starting, while no start has been measured; else 0."""
    if not function.counts["starting"] or function.measured.start_s is not None:
        return 0.0
    return now - next(c.started_at for c in function.containers.values() if c.state == "starting")


def plan_idle(state: State, function: Function) -> None:
    """Plans a review for when the idle timeout of the longest idle container is over."""
    if function.idle and function.review_at == math.inf and function.live > function.policy.min_containers:
        oldest = next(iter(function.idle.values()))
        due = oldest.idle_since + _keep_s(state, function)
        state.review_by(function, due if due > state.now else state.now + pause_s(state, function))


def _record(state: State, function: Function, decision: Decision) -> None:
    last = function.decisions[-1][1] if function.decisions else Decision(0, 0, "")
    changed = (decision.wanted, decision.have) != (last.wanted, last.have)
    if decision.wanted != last.wanted or (changed and decision.wanted > decision.have):
        function.decisions.append((state.now, decision))
        state.out.append(Decided(function.id, decision.wanted, decision.have, decision.why))


def _shrink(state: State, function: Function) -> None:
    """Stops containers that are idle for longer than their start is worth and that arrivals do not need, and those
    above the maximum."""
    policy = function.policy
    least = max(policy.min_containers, function.wanted)
    if function.counts["starting"] and not function.queued:
        _call_off(state, function, least)
    buffer = policy.buffer_containers if function.queued or function.running else 0
    for container in list(function.idle.values()):
        idle_s, keep = state.now - container.idle_since, _keep_s(state, function)
        if idle_s < keep or function.live <= least or len(function.idle) <= buffer:
            break
        stop(state, container, f"idle for {idle_s:.3g} s, kept for {keep:.3g} s", 0.0)
    if policy.max_containers is not None and function.live > policy.max_containers:
        surplus = function.live - max(policy.max_containers, policy.min_containers)
        _trim(state, function, surplus, f"max_containers is {policy.max_containers}")


def _thin_out(state: State, function: Function, serving: int) -> None:
    """Stops containers when there are many more than the processors can serve: those that run nothing, and where inputs
    are short the others too, after what they run."""
    least, tuning, service_s = max(serving, function.wanted), state.tuning, function.measured.service_s
    surplus = function.live - least
    if function.live > tuning.crowd_most * least:
        if service_s is None or service_s > tuning.crowd_patience_s:
            surplus = min(surplus, len(function.idle) + function.counts["starting"])
        _trim(state, function, surplus, f"the processors serve {serving} at once")


def _call_off(state: State, function: Function, least: int) -> None:
    """Stops starting containers that are clearly no longer wanted, the latest first, unless they are almost ready."""
    tuning, start_s = state.tuning, function.measured.start_s
    surplus = min(function.counts["starting"], int(function.live - least - _chance(state, function)))
    if start_s is None or surplus <= 0:
        return
    begun_at = state.now - tuning.unwanted_starts * start_s
    starting = [c for c in reversed(function.containers.values()) if c.state == "starting" and c.started_at > begun_at]
    for container in starting[:surplus]:
        stop(state, container, f"not wanted any more: {function.wanted} wanted, {function.live} have", 0.0)


def _keep_s(state: State, function: Function) -> float:
    """The idle timeout of its longest idle container. The last container is worth more than one of several, and those
    that chance may need again more than those that a burst left over."""
    far_above = function.live - function.wanted > state.tuning.chance_least + _chance(state, function)
    return keep_s(function.policy, function.measured, state.tuning, last=function.live <= 1, far_above=far_above)


def _chance(state: State, function: Function) -> float:
    """How many containers above the wanted number may be needed again without any change of traffic."""
    return state.tuning.chance_deviations * deviation(function.wanted, function.target, function.measured)


def _trim(state: State, function: Function, surplus: int, why: str) -> None:
    """Stops containers above a maximum: idle ones first, then starting ones, then the least busy, after what they
    run."""
    live = [c for c in function.containers.values() if c.state in ("starting", "ready")]
    live.sort(key=lambda c: (c.busy, c.state == "starting"))
    for container in live[:surplus] if surplus > 0 else []:
        drain(state, container, why)


def _plan_next(state: State, function: Function, blocked: bool) -> None:
    """Plans the next review."""
    if blocked and (function.queued or function.policy.min_containers):
        state.review_by(function, function.trouble.blocked_until)
    elif function.queued or function.running > function.target * function.live:
        least_s = state.tuning.refused_review_s if function.refusal else 0.0
        state.review_by(function, state.now + max(pause_s(state, function), least_s))
    plan_idle(state, function)
