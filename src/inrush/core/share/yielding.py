"""When nothing stands idle: who makes way for a function that waits, and how.

1. *Preemption*: containers of lower priority go within their grace; what does not end in it is tried again elsewhere,
   free of charge. Those that lose least go first: the lowest priority, no streams, what starts, what ends within the
   grace by what its function's inputs usually take, what has begun last.
2. *Fair share*: of equals, who holds more of the cluster than the one that waits (`shares`) yields as much as leaves
   it no less than that: a container finishes what it runs and takes no more. Where that would leave nothing for one of
   them (fewer places than functions, or one that needs a whole node), they take turns.
3. *Defragmentation*: when there are devices enough but no node has them together, containers on the node where fewest
   have to move finish what they run and start again elsewhere.

`nonpreemptible` functions never make way, and nobody goes below its minimum: but who has had nothing at all for
`STARVES_S` gets a first container from what minimums hold, or they would starve it for ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from operator import itemgetter

from inrush.core.containers.lifecycle import drain, preempt
from inrush.core.model.containers import Container
from inrush.core.model.functions import Function
from inrush.core.model.nodes import Node
from inrush.core.model.state import State
from inrush.core.model.wanted import accepts, in_bounds, name
from inrush.core.place.rooms import by_node, enough, promised, rooms
from inrush.core.share.claims import keep, needs_claim

PREEMPT_AFTER_S = 0.05
"""Inputs wait this long for a container to fall idle before containers of lower priority are preempted."""

YIELD_AFTER_S = 0.5
"""Inputs wait this long before busy containers of others are asked to yield."""

TURN_S = 5.0
TURN_STARTS = 5.0
"""Where there are more functions than places, a function without one gets the place of an equal that has had it for so
long, or for so many of its starts, so that changing costs little against what runs."""

STARVES_S = 10.0
"""Inputs of a function without any container wait this long before other functions' minimums no longer stand in the way
of its first."""

LOOK_S = 0.25
"""Functions of equal priority are asked to yield no more often than this."""

PREEMPT_LOOK_S = 0.05
PREEMPT_LOOK_S_EACH = 2e-5
"""For each container there is, functions of lower priority are asked no more often than this, since a look costs as
much as there is."""

PREEMPT_GRACE_S = 1.0
"""The grace time of a preempted container, for which the preempting function waits."""

PREEMPTS_PER_STEP = 32

_EQUAL = 1e-9
"""Shares that differ by no more than this are equal."""

FRAGMENTS_COMPARED = 16
"""So many nodes are compared to find one on which few containers have to move."""


def make_way(state: State, function: Function, coming: int, lacking: int) -> None:
    """Has others make room for more containers of the function than there will be room for anyway. If they do not, it
    is tried again after a while."""
    due = max(function.yield_due, function.queued_since + PREEMPT_AFTER_S)
    if state.now < due:
        if due < math.inf:
            state.provision_by(due)
        return
    if _preempt(state, function, coming, min(lacking, PREEMPTS_PER_STEP)):
        function.yield_due = state.now + PREEMPT_LOOK_S + PREEMPT_LOOK_S_EACH * len(state.containers)
        return
    function.yield_due = state.now + LOOK_S
    if state.now < function.queued_since + YIELD_AFTER_S:
        return
    if not _ask_to_yield(state, function, coming) and needs_claim(function):
        _move(state, function)


def _preempt(state: State, function: Function, coming: int, lacking: int) -> bool:
    """Preempts containers of lower priority. Returns whether there were any."""
    victims: list[tuple[int, bool, tuple[float, float], Container]] = []
    for owner in state.functions.values():
        spare = spare_of(state, owner, function)
        if owner.spec.priority < function.spec.priority and spare > 0 and not owner.spec.nonpreemptible:
            streams = bool(owner.spec.web or owner.spec.generators)
            lost = sorted(((_loss(state, owner, c), c) for c in _live(owner)), key=itemgetter(0))[:spare]
            victims += ((owner.spec.priority, streams, loss, container) for loss, container in lost)
    if not victims:
        return False
    candidates = by_node([container for *_, container in sorted(victims, key=itemgetter(0, 1, 2))])
    found = rooms(state, function, candidates)
    promised(function, found, coming)
    any_gone = False
    for _ in range(lacking):
        taken = enough(function, found, candidates)
        if not taken:
            break
        for container in taken:
            name_there = function.named_to(state.functions[container.function])
            preempt(state, container, f"{name_there} has a higher priority and waits", PREEMPT_GRACE_S)
        keep(state, function, taken)
        any_gone = True
    return any_gone


def _ask_to_yield(state: State, function: Function, coming: int) -> bool:
    """Drains busy containers of functions with more than their share, as many as make room for one container or cluster
    of the function."""
    size = max(1, function.spec.cluster_size)
    if coming and coming + len(function.places) >= size:
        return True
    unfair: list[Container] = []
    for owner in sorted(_owners(state), key=lambda other: (-_share(state, other, function), other.order)):
        if owner is function or owner.spec.nonpreemptible or owner.spec.priority > function.spec.priority:
            continue
        more = _share(state, owner, function) - _share(state, function, owner)
        asks, each = size * state.share_of_one(function), state.share_of_one(owner)
        count = math.floor((more - asks) / each + _EQUAL) if each else 0
        ready = [container for container in owner.containers.values() if container.state == "ready"]
        if count < 1 and more > _EQUAL and _starves(state, function):
            ready = [container for container in ready if _had_its_turn(state, container, owner, function)]
            count = math.ceil(asks / each - _EQUAL)
        count = min(count, spare_of(state, owner, function))
        unfair += sorted(ready, key=lambda container: container.busy)[: max(0, count)]
    candidates = by_node(unfair)
    found = rooms(state, function, candidates)
    promised(function, found, coming)
    taken = enough(function, found, candidates)
    for container in taken:
        drain(state, container, f"{function.named_to(state.functions[container.function])} waits for its share")
    if taken:
        keep(state, function, taken)
    return bool(taken)


def spare_of(state: State, owner: Function, function: Function) -> int:
    """How many containers an owner may be asked for on behalf of a function."""
    return owner.live - (0 if starves_for_minimums(state, function) else owner.policy.min_containers)


def starves_for_minimums(state: State, function: Function) -> bool:
    """Whether the function has no container and has waited so long that minimums of others no longer count."""
    had_at = function.departures[-1][0] if function.departures else -math.inf
    return not function.live and state.now >= max(function.queued_since, had_at) + STARVES_S


def _starves(state: State, function: Function) -> bool:
    """Whether the function has no container and has waited for a turn."""
    return not function.live and state.now >= function.queued_since + TURN_S


def _had_its_turn(state: State, container: Container, owner: Function, function: Function) -> bool:
    """Whether an owner's containers have had their turn. A function that needs several at once would never find them
    all so old."""
    turn_s = max(TURN_S, TURN_STARTS * (owner.measured.start_s or 0.0))
    return needs_claim(function) or state.now - container.ready_at >= turn_s


def _move(state: State, function: Function) -> None:
    """Has small containers move, where enough devices are free but on several nodes."""
    for request in function.spec.resources.gpu:
        nodes = [node for node in state.nodes.values() if in_bounds(function.spec, node) and not node.aside]
        kinds = dict.fromkeys(t for node in nodes for t in node.gpus if accepts(request, t))
        for gpu_type in kinds:
            nodes.sort(key=lambda node: (-len(node.gpus.get(gpu_type, ())), node.order))
            free = sum(len(node.gpus.get(gpu_type, ())) for node in nodes)
            for node in nodes[:FRAGMENTS_COMPARED] if free >= request.count else []:
                elsewhere = free - len(node.gpus.get(gpu_type, ()))
                candidates = by_node(list(_movable(state, function, node, gpu_type, elsewhere)))
                taken = enough(function, rooms(state, function, {node.id: [], **candidates}), candidates)
                if taken:
                    for container in taken:
                        mover = function.named_to(state.functions[container.function])
                        drain(state, container, f"it moves: {mover} wants {name(request)} on one node")
                    keep(state, function, taken)
                    return


def _movable(state: State, function: Function, node: Node, gpu_type: str, elsewhere: int) -> Iterator[Container]:
    """Containers of a node that could as well be on another one, as far as free devices elsewhere go."""
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


def _loss(state: State, owner: Function, container: Container) -> tuple[float, float]:
    """What is lost by stopping a container now, less being better: the seconds of work lost, and how long it stays to
    finish what it runs."""
    if container.state == "starting" or not container.busy:
        return 0.0, 0.0
    ran_s, service_s = state.now - container.progress_at, owner.measured.service_s
    left_s = math.inf if service_s is None or ran_s > service_s else service_s - ran_s
    return (0.0, left_s) if left_s <= PREEMPT_GRACE_S else (ran_s, PREEMPT_GRACE_S)


def _share(state: State, function: Function, other: Function) -> float:
    """The share that is compared: that of the app, or of the function where both are of one app."""
    return function.live * state.share_of_one(function) if function.app == other.app else state.share_of(function.app)
