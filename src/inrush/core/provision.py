"""Serving the hungry: functions that want more containers than they have get them in turn, the app with fewest first.

What cannot be placed is refused with a sentence, and what stands idle in its way is let go (`reclaim`). A step places
a bounded number of containers; the rest is carried over to the next.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from inrush.core.functions import Function
from inrush.core.lifecycle import start
from inrush.core.place import Planner
from inrush.core.reclaim import reclaim
from inrush.core.refuse import refusal
from inrush.core.sizing import tell_waiting
from inrush.core.state import State
from inrush.core.supply import supply

STARTS_PER_STEP = 64

_Turn = tuple[int, int, int, int, Function]


def provision(state: State) -> None:
    """Place what is wanted, as far as there is room and this step may."""
    state.provision_due = False
    planners: dict[str, Planner] = {}
    heap = [_turn(state, function) for function in state.hungry.values()]
    heapify(heap)
    refused: list[Function] = []
    left = STARTS_PER_STEP
    while heap and left:
        function = heappop(heap)[-1]
        planner = planners.get(function.id)
        if planner is None:
            planner = Planner(function.spec, state.nodes.values(), function.containers.values())
            planners[function.id] = planner
        placement = planner.next()
        if placement is None:
            refused.append(function)
            continue
        why = function.decisions[-1][1].why if function.decisions else ""
        start(state, function, placement, f"{why}; {placement.why}")
        left -= 1
        if function.wanted > function.live:
            heappush(heap, _turn(state, function))
        else:
            _satisfied(state, function)
    _refuse(state, refused)
    if heap:
        state.provision_due = True
        state.timer(state.now, "provision")


def _turn(state: State, function: Function) -> _Turn:
    """Priority first, then the app with fewest containers, then the function with fewest; the older function when all
    is equal."""
    app = state.per_app.get(function.app, 0)
    return (-function.spec.priority, app, function.live, function.order, function)


def _satisfied(state: State, function: Function) -> None:
    state.hungry.pop(function.id, None)
    function.refusal = ""
    tell_waiting(state, function)


def _refuse(state: State, refused: list[Function]) -> None:
    for function in refused:
        function.refusal = refusal(state, function)
    reclaim(state, refused)
    if state.pools:
        supply(state, refused)
    for function in refused:
        tell_waiting(state, function)
