"""When nothing stands idle: who makes way for a function that waits, and how.

1. *Preemption*: containers of lower priority go within their grace; what does not end in it is tried again elsewhere,
   free of charge. Those that lose least go first: the lowest priority, no streams, the latest progress.
2. *Fair share*: of equals, who holds more than the one that waits yields, one container at a time: it finishes what it
   runs and takes no more.
3. *Defragmentation*: when there are devices enough but no node has them together, containers on the node where fewest
   have to move finish what they run and start again elsewhere.

`nonpreemptible` functions never make way, and nobody goes below its minimum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from inrush.core.claims import keep, needs_claim
from inrush.core.containers import Container
from inrush.core.functions import Function
from inrush.core.lifecycle import drain, preempt
from inrush.core.nodes import Node
from inrush.core.place import accepts, in_bounds, name
from inrush.core.rooms import by_node, enough, promised, rooms
from inrush.core.state import State

PREEMPT_AFTER_S = 0.05
"""Inputs wait this long for something to fall idle before containers of lower priority are preempted."""

YIELD_AFTER_S = 0.5
"""Inputs wait this long before busy containers of others are asked to yield."""

LOOK_S = 0.25
"""Others are asked no more often."""

PREEMPT_GRACE_S = 10.0
"""For what runs in a container that is preempted."""

PREEMPTS_PER_STEP = 32

FRAGMENTS_COMPARED = 16
"""Nodes that are looked at for one on which few have to move."""


def make_way(state: State, function: Function, lacking: int) -> None:
    """Have others make room for so many containers of the function; look again in a while if they do not."""
    due = max(function.yield_due, function.queued_since + PREEMPT_AFTER_S)
    if state.now < due:
        if due < math.inf:
            state.provision_by(due)
        return
    function.yield_due = state.now + LOOK_S
    waits_long = state.now >= function.queued_since + YIELD_AFTER_S
    if _preempt(state, function, min(lacking, PREEMPTS_PER_STEP)) or not waits_long:
        return
    if not _ask_to_yield(state, function) and needs_claim(function):
        _move(state, function)


def _preempt(state: State, function: Function, lacking: int) -> bool:
    """Whether there was anybody of lower priority."""
    victims: list[Container] = []
    for owner in state.functions.values():
        spare = owner.live - owner.policy.min_containers
        if owner.spec.priority < function.spec.priority and spare > 0 and not owner.spec.nonpreemptible:
            victims += sorted(_live(owner), key=_loss)[:spare]
    if not victims:
        return False
    ranks = {owner.id: (owner.spec.priority, bool(owner.spec.web or owner.spec.generators)) for owner in _owners(state)}
    candidates = by_node(sorted(victims, key=lambda c: (ranks[c.function], _loss(c))))
    found = rooms(state, candidates)
    any_gone = False
    for _ in range(lacking):
        if promised(function, found):
            any_gone = True
            continue
        taken = enough(function, found, candidates)
        if not taken:
            break
        for container in taken:
            preempt(state, container, f"{function.spec.name} has a higher priority and waits", PREEMPT_GRACE_S)
        keep(state, function, taken)
        any_gone = True
    return any_gone


def _ask_to_yield(state: State, function: Function) -> bool:
    """Have busy containers of those with more than their share drained, as many as make room for one of the
    function's."""
    unfair: list[Container] = []
    for owner in sorted(_owners(state), key=lambda other: (-_share(state, other, function), other.order)):
        more = _share(state, owner, function) - _share(state, function, owner)
        count = min(more - 1, owner.live - owner.policy.min_containers)
        if owner is function or count <= 0 or owner.spec.nonpreemptible or owner.spec.priority > function.spec.priority:
            continue
        ready = [container for container in owner.containers.values() if container.state == "ready"]
        unfair += sorted(ready, key=lambda container: container.busy)[:count]
    candidates = by_node(unfair)
    found = rooms(state, candidates)
    if promised(function, found):
        return True
    taken = enough(function, found, candidates)
    for container in taken:
        drain(state, container, f"{function.spec.name} waits for its share")
    if taken:
        keep(state, function, taken)
    return bool(taken)


def _move(state: State, function: Function) -> None:
    """Have small ones move, if there are devices enough, but on several nodes."""
    for request in function.spec.resources.gpu:
        nodes = [node for node in state.nodes.values() if in_bounds(function.spec, node) and not node.aside]
        kinds = dict.fromkeys(t for node in nodes for t in node.gpus if accepts(request, t))
        for gpu_type in kinds:
            nodes.sort(key=lambda node: (-len(node.gpus.get(gpu_type, ())), node.order))
            free = sum(len(node.gpus.get(gpu_type, ())) for node in nodes)
            for node in nodes[:FRAGMENTS_COMPARED] if free >= request.count else []:
                elsewhere = free - len(node.gpus.get(gpu_type, ()))
                candidates = by_node(list(_movable(state, function, node, gpu_type, elsewhere)))
                taken = enough(function, rooms(state, {node.id: [], **candidates}), candidates)
                if taken:
                    for container in taken:
                        drain(state, container, f"it moves: {function.spec.name} wants {name(request)} on one node")
                    keep(state, function, taken)
                    return


def _movable(state: State, function: Function, node: Node, gpu_type: str, elsewhere: int) -> Iterator[Container]:
    """Containers there that could as well be on another node, as far as the devices elsewhere go."""
    here = [c for c in node.containers.values() if c.gpu_type == gpu_type and c.state == "ready" and not c.leader]
    for container in sorted(here, key=lambda c: (len(c.gpus), c.busy)):
        owner = state.functions[container.function]
        fixed = owner.spec.nonpreemptible or container.followers or owner.spec.priority > function.spec.priority
        if fixed or owner is function or owner.want is None or len(container.gpus) > elsewhere:
            continue
        before, node.unfit = node.unfit, "looked at"
        place = state.index.find(owner.want)
        node.unfit = before
        if place is not None:
            elsewhere -= len(container.gpus)
            yield container


def _owners(state: State) -> list[Function]:
    return [owner for owner in state.functions.values() if owner.containers]


def _live(owner: Function) -> list[Container]:
    return [c for c in owner.containers.values() if c.state in ("starting", "ready")]


def _loss(container: Container) -> float:
    """Less is better: what is lost of a container that goes now. Who starts loses nothing."""
    return -math.inf if container.state == "starting" else -container.progress_at


def _share(state: State, function: Function, other: Function) -> int:
    """Containers that count against each other: of the app, or of the function if both are of one app."""
    return function.live if function.app == other.app else state.per_app.get(function.app, 0)
