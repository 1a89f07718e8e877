"""Invariants of the whole state. Checked after every step in tests, and now and then in production; the cost is
O(everything).

Each check yields sentences about what is wrong; a sound state yields none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from inrush.core.calls.lease import MOST, STALE_S
from inrush.core.check.places import placing
from inrush.core.model.amounts import Amount, given_by, held_by
from inrush.core.model.calls import CALL, Call
from inrush.core.model.containers import CONTAINER, Container
from inrush.core.model.functions import Function
from inrush.core.model.state import State
from inrush.core.model.transitions import states

_CALL_STATES, _CONTAINER_STATES = frozenset(states(CALL)), frozenset(states(CONTAINER))


def violations(state: State) -> list[str]:
    """Sentences about what is wrong with the state; empty when nothing is."""
    found: list[str] = []
    for call in state.calls.values():
        for text in _call(state, call):
            found.append(f"call {call.id}: {text}")
    waits = Counter(call.caller for call in state.calls.values() if call.caller)
    runs = Counter((call.id, a.container.id) for call in state.calls.values() for a in call.running.values())
    for container in state.containers.values():
        for text in _container(state, container, waits, runs):
            found.append(f"container {container.id}: {text}")
    for function in state.functions.values():
        found += (f"function {function.id}: {text}" for text in _function(state, function))
    found += placing(state)
    found += _totals(state)
    return found


def _call(state: State, call: Call) -> Iterator[str]:
    queued = [*(index for span in call.queue for index in span), *call.suspects]
    places = [*queued, *call.running, *call.delayed]
    if call.state not in _CALL_STATES or call.state == "done":
        yield f"is in state {call.state!r}"
    if len(places) > 1 and len(places) != len(set(places)):
        yield "an input stands in two places"
    if len(queued) != call.queued:
        yield f"counts {call.queued} queued inputs, has {len(queued)}"
    if call.done + len(places) != len(call.known):
        yield f"{len(call.known)} known inputs, but {call.done} done and {len(places)} not"
    if not all(index in call.known for index in places):
        yield "an input that never arrived stands somewhere"
    if call.total >= 0 and call.done == call.total:
        yield "all its inputs are done, and it is still here"
    if call.tries and not set(call.tries) <= set(places):
        yield "tries are kept of inputs that are done"
    if (queued or call.delayed) and call.state in ("cancelled", "forgotten"):
        yield f"inputs wait although it is {call.state}"
    for index, attempt in call.running.items():
        if state.containers.get(attempt.container.id) is not attempt.container:
            yield f"input {index} runs in {attempt.container.id}, which is gone"


def _container(
    state: State, container: Container, waits: Counter[str], runs: Counter[tuple[str, str]]
) -> Iterator[str]:
    """`waits` are calls by the container that made them, `runs` inputs by call and container."""
    function, node = state.functions.get(container.function), state.nodes.get(container.node)
    if container.state not in _CONTAINER_STATES or container.state == "ended":
        yield f"is in state {container.state!r}"
    if container.leader is not None:
        yield from _follower(state, container)
    elif function is None or function.containers.get(container.id) is not container:
        yield f"its function {container.function} does not know it"
    elif container.busy > function.slots_most + MOST:
        yield f"has {container.busy} inputs in {function.slots_most} slots, with at most {MOST} leased"
    elif container.busy > function.slots_most and function.policy.single_use:
        yield "takes one input only, and more are leased to it"
    if node is None or node.containers.get(container.id) is not container:
        yield f"its node {container.node} does not know it"
    if container.busy != sum(container.calls.values()):
        yield f"counts {container.busy} inputs, and {container.calls} by call"
    if container.busy and container.state == "starting":
        yield "runs inputs before it is ready"
    if container.waits != waits[container.id]:
        yield f"waits for {container.waits} calls, which are not those that it made"
    for call_id, count in container.calls.items():
        if runs[call_id, container.id] != count or not count:
            yield f"counts {count} inputs of {call_id}, which knows {runs[call_id, container.id]}"


def _follower(state: State, container: Container) -> Iterator[str]:
    function, leader = state.functions.get(container.function), container.leader
    if function is None or function.followers.get(container.id) is not container:
        yield f"its function {container.function} does not know it"
    if leader is not None and leader.id in state.containers and container not in leader.followers:
        yield "its leader does not know it"
    if container.busy or container.calls:
        yield "counts inputs, though they are its leader's"


def _function(state: State, function: Function) -> Iterator[str]:
    containers = function.containers.values()
    calls = function.calls.values()
    states_of = Counter(c.state for c in containers)
    counted = {name: states_of[name] for name in function.counts}
    if counted != function.counts:
        yield f"counts {function.counts}, has {counted}"
    if function.running != sum(c.busy for c in containers):
        yield f"counts {function.running} running inputs, its containers {sum(c.busy for c in containers)}"
    ahead = {c.id: c.busy - function.slots for c in containers if c.busy > function.slots}
    if function.leased != sum(ahead.values()) or sorted(function.leasing) != sorted(ahead):
        yield f"counts {function.leased} leased inputs in {sorted(function.leasing)}, its containers have {ahead}"
    if ahead and not function.watched and any(function.leasing[id].progress_at > state.now - STALE_S for id in ahead):
        yield "nobody looks after its leased inputs"
    if function.queued != sum(c.queued for c in calls):
        yield f"counts {function.queued} queued inputs, its calls {sum(c.queued for c in calls)}"
    if function.delayed != sum(len(c.delayed) for c in calls):
        yield f"counts {function.delayed} delayed inputs, its calls {sum(len(c.delayed) for c in calls)}"
    turns = [call.id for call in function.turns]
    if sorted(turns) != sorted(call.id for call in calls if call.queue):
        yield f"the turns {turns} are not the calls with queued inputs"
    if sorted(call.id for call in function.suspects) != sorted(c.id for c in calls for _ in c.suspects):
        yield "its suspects are not those of its calls"
    leaving = {c.id for c in containers if c.state in ("draining", "stopping")}
    if set(function.leaving) != leaving:
        yield f"{sorted(leaving)} leave, and it knows of {sorted(function.leaving)}"
    yield from _shelves(function)
    if function.queued and function.turns and (function.below_target or function.below_max):
        yield "inputs wait although there is a free slot"
    if function.removed and (function.queued or function.delayed or function.id in state.hungry):
        yield "is removed, and still has or wants something"


def _shelves(function: Function) -> Iterator[str]:
    ready = [c for c in function.containers.values() if c.state == "ready"]
    below_target = {c.id for c in ready if c.busy < function.target and not c.closed and c.busy >= c.engaged}
    below_max = {c.id for c in ready if function.target <= c.busy < function.slots and not c.closed}
    idle = {c.id for c in ready if not c.engaged}
    for container in function.below_lease.values():
        if container.state != "ready" or container.closed or container.busy < function.slots:
            yield f"{container.id} is on the shelf below_lease, and should not be"
    for name, right in (("below_target", below_target), ("below_max", below_max), ("idle", idle)):
        if set(getattr(function, name)) != right:
            yield f"shelf {name} holds {sorted(getattr(function, name))}, should hold {sorted(right)}"


def _totals(state: State) -> Iterator[str]:
    capacity, held = Amount(), dict[str, Amount]()
    for node in state.nodes.values():
        capacity = capacity.plus(given_by(node.inventory))
    if capacity != state.capacity:
        yield f"all nodes give {capacity}, counted {state.capacity}"
    for container in state.containers.values():
        function = state.functions.get(container.function)
        if function is not None:
            held[function.app] = held.get(function.app, Amount()).plus(held_by(container))
    held = {app: amount for app, amount in held.items() if any(amount)}
    if held != state.held:
        yield f"apps hold {held}, counted {state.held}"
    for function_id, function in state.hungry.items():
        if state.functions.get(function_id) is not function:
            yield f"function {function_id} is hungry and gone"
    if state.touched:
        yield f"functions {list(state.touched)} were touched and not settled"
