"""Makes room for functions that wait for what others hold.

Idle containers are stopped first and at once; otherwise two functions that share a few GPUs would block each other
until `scaledown_window` is over. Only functions of higher priority keep their idle containers. When none is idle, busy
ones make way (`yielding`). No function goes below its minimum, except that a starving function gets its first
container. What leaving containers will give back is counted first, so that no more are stopped than are needed.
"""

from __future__ import annotations

from inrush.core.containers.lifecycle import stop
from inrush.core.model.containers import Container
from inrush.core.model.functions import Function
from inrush.core.model.state import State
from inrush.core.place.rooms import Candidates, by_node, enough, promised, rooms
from inrush.core.share.claims import keep, may_claim, needs_claim
from inrush.core.share.yielding import make_way, spare_of, starves_for_minimums

RECLAIMS_PER_STEP = 32

FEW = 100
REST_S = 1.5e-5
"""Searching idle containers costs as much as there are, so for each container past a few the search rests this long."""


def reclaim(state: State, refused: list[Function]) -> None:
    """Makes room for those of these functions that have inputs waiting."""
    if state.now < state.reclaim_due:
        return
    state.reclaim_due = state.now + REST_S * max(0, len(state.containers) - FEW)
    left = RECLAIMS_PER_STEP
    for function in refused:
        if function.queued:
            left -= _reclaim(state, function, left)


def _reclaim(state: State, function: Function, most: int) -> int:
    """Makes room for one function. Returns how many containers were stopped."""
    idle = _idle(state, function)
    found = rooms(state, function, idle)
    size = max(1, function.spec.cluster_size)
    starves = starves_for_minimums(state, function)
    what = ", which has none, waits for its place" if starves else " waits for its place"
    lacking = size * (1 if starves else function.wanted - function.live) - len(function.places)
    coming, gone = promised(function, found, lacking), 0
    while coming < lacking and gone < most:
        taken = enough(function, found, idle)
        for container in taken:
            stop(state, container, f"idle, and {function.named_to(state.functions[container.function])}{what}", 0.0)
        gone += len(taken)
        if not taken:
            if not needs_claim(function) or may_claim(state, function):
                make_way(state, function, coming, lacking - coming)
            break
        keep(state, function, taken)
        there = taken[0].node
        coming += 1 + promised(function, {there: found[there]}, lacking - coming - 1)
    return gone


def _idle(state: State, function: Function) -> Candidates:
    """Idle containers that their functions can do without, by node, the longest idle first."""
    spare: list[Container] = []
    for owner in state.functions.values():
        if owner.idle and owner.spec.priority <= function.spec.priority and owner is not function:
            spare += list(owner.idle.values())[: max(0, spare_of(state, owner, function))]
    return by_node(sorted(spare, key=lambda container: container.idle_since))
