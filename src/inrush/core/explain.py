"""What `inrush why` tells people: why the calls of a function wait, and why it has the containers that it has."""

from __future__ import annotations

from inrush.core.model.functions import Function
from inrush.core.model.state import State
from inrush.core.pools.coming import told
from inrush.core.scale.desired import keep_s
from inrush.core.scale.waiting import times, waiting_for


def explain(state: State, function_id: str) -> list[str]:
    """Sentences about a function, from what its code asks for to what goes wrong."""
    function = state.functions.get(function_id)
    if function is None:
        return [f"no function {function_id} is known"]
    lines = [_policy(state, function), _load(function), _measured(function), *_containers(state, function)]
    lines += [f"decided {_ago(state, at)}: {decision.why}" for at, decision in function.decisions]
    lines += [f"{_ago(state, at)} {text}" for at, text in function.departures]
    if function.trouble.failures:
        lines.append(
            f"{times(function.trouble.failures)} in a row its container could not start: {function.trouble.why}"
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
    use = "" if measured.use is None else f", a container that serves uses {measured.use:.2g} cores"
    return f"measured: a start takes {start}, an input {service}{use}"


def _containers(state: State, function: Function) -> list[str]:
    counts = [f"{count} {name}" for name, count in function.counts.items() if count]
    lines = [f"containers: {', '.join(counts) or 'none'}; {function.wanted} wanted"]
    for container in list(function.containers.values())[:16]:
        gpus = f" with {container.gpu_type} {','.join(map(str, container.gpus))}" if container.gpus else ""
        how = f" by {container.how}" if container.how else ""
        state_of = f"{container.state} ({container.leaving})" if container.leaving else container.state
        if state.now > container.stop_by:
            state_of += f" (it should have ended {_ago(state, container.stop_by)})"
        lines.append(
            f"{container.id} is {state_of} on {container.node}{gpus}, "
            f"started {_ago(state, container.started_at)}{how}, runs {container.busy}, has run {container.served}"
        )
    if len(function.containers) > 16:
        lines.append(f"and {len(function.containers) - 16} more")
    return lines


def _ago(state: State, at: float) -> str:
    return f"{max(0.0, state.now - at):.3g} s ago"
