"""What people may ask: why do the calls of a function wait, and why does it have the containers it has."""

from __future__ import annotations

from inrush.core.model.functions import Function
from inrush.core.model.state import State
from inrush.core.pools.coming import told
from inrush.core.scale.scale import keep_s

PATIENCE_S = 0.1
"""Calls that wait for a busy container are told of only after this long: it is what busy containers are for."""


def waiting_for(state: State, function: Function) -> str:
    """What the calls of a function wait for, empty when they do not wait."""
    if not function.queued:
        return ""
    if not state.nodes:
        return (function.refusal if state.pools else "") or "no node has joined yet"
    trouble, starting, ready = function.trouble, function.counts["starting"], function.counts["ready"]
    if state.now < trouble.blocked_until and not function.live:
        return f"its container could not start, {_times(trouble.failures)} ({trouble.why}); tried again after a while"
    if starting and not ready:
        return f"{_count(starting)} starting"
    if function.refusal and not ready:
        return function.refusal
    if not function.live:
        return "max_containers is 0" if function.policy.max_containers == 0 else function.waiting
    if state.now - function.queued_since < PATIENCE_S:
        return function.waiting
    return _busy(function, starting)


def explain(state: State, function_id: str) -> list[str]:
    """Sentences about a function, from what was asked for to what is the matter."""
    function = state.functions.get(function_id)
    if function is None:
        return [f"no function {function_id} is known"]
    lines = [_policy(state, function), _load(function), _measured(function), *_containers(state, function)]
    lines += [f"decided {_ago(state, at)}: {decision.why}" for at, decision in function.decisions]
    lines += [f"{_ago(state, at)} {text}" for at, text in function.departures]
    if function.trouble.failures:
        lines.append(
            f"{_times(function.trouble.failures)} in a row its container could not start: {function.trouble.why}"
        )
    lines += told(state, function)
    waiting = waiting_for(state, function) or function.refusal
    if function.removed:
        lines.append(f"takes no more calls: {function.removed}")
    elif function.queued and waiting:
        lines.append(f"{function.queued} inputs wait: {waiting}")
    elif function.refusal:
        lines.append(f"another container is wanted: {function.refusal}")
    else:
        lines.append("nothing waits")
    return lines


def stats(function: Function) -> dict[str, int]:
    """Counts of a function: inputs that wait, containers, inputs that run, and how many more could run at once now."""
    ready = [c for c in function.containers.values() if c.state == "ready"]
    return {
        "backlog": function.queued + function.leased + function.delayed,
        "containers": function.live,
        "running_inputs": function.running - function.leased,
        "input_headroom": sum(max(0, function.slots - c.busy) for c in ready),
    }


def _busy(function: Function, starting: int) -> str:
    """Without counts, so that it is no news with each container that comes."""
    most = function.policy.max_containers
    if starting:
        return "all its containers are busy, more are starting"
    if most is not None and function.live >= most:
        return f"all its containers are busy, and max_containers is {most}"
    text = "all its containers are busy"
    return f"{text}; {function.refusal}" if function.refusal else text


def _policy(state: State, function: Function) -> str:
    policy = function.policy
    bounds = f"{policy.min_containers} or more"
    if policy.max_containers is not None:
        bounds = f"{policy.min_containers} to {policy.max_containers}"
    inputs = "1 input" if function.slots == 1 else f"{function.slots} inputs"
    text = f"{function.spec.name}: {bounds} containers, {inputs} at once in each"
    if function.target != function.slots:
        text += f" (aims at {function.target})"
    if function.spec.priority:
        text += f", priority {function.spec.priority}"
    keep = keep_s(policy, function.measured, state.tuning, last=function.live <= 1)
    return f"{text}, idle ones kept for {keep:.3g} s of at most {policy.scaledown_window_s:g} s"


def _load(function: Function) -> str:
    text = f"{function.queued + function.leased} inputs wait, {function.running - function.leased} run"
    return f"{text}, {function.delayed} wait for a retry" if function.delayed else text


def _measured(function: Function) -> str:
    measured = function.measured
    start = "unknown" if measured.start_s is None else f"{measured.start_s:.3g} s"
    service = "unknown" if measured.service_s is None else f"{measured.service_s:.3g} s"
    return f"measured: a start takes {start}, an input {service}"


def _containers(state: State, function: Function) -> list[str]:
    counts = [f"{count} {name}" for name, count in function.counts.items() if count]
    lines = [f"containers: {', '.join(counts) or 'none'}; {function.wanted} wanted"]
    for container in list(function.containers.values())[:16]:
        gpus = f" with {container.gpu_type} {','.join(map(str, container.gpus))}" if container.gpus else ""
        how = f" by {container.how}" if container.how else ""
        state_of = f"{container.state} ({container.leaving})" if container.leaving else container.state
        lines.append(
            f"{container.id} is {state_of} on {container.node}{gpus}, "
            f"started {_ago(state, container.started_at)}{how}, runs {container.busy}, has run {container.served}"
        )
    if len(function.containers) > 16:
        lines.append(f"and {len(function.containers) - 16} more")
    return lines


def _ago(state: State, at: float) -> str:
    return f"{max(0.0, state.now - at):.3g} s ago"


def _count(containers: int) -> str:
    return "1 container is" if containers == 1 else f"{containers} containers are"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
