"""Serves functions that want more containers than they have, in turn: the app that holds least comes first.

A function that cannot be placed is refused with a sentence, and idle containers in its way are stopped (`reclaim`). A
step places a bounded number of containers; the rest is carried over to the next.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from inrush.core.containers.clusters import form, gather
from inrush.core.containers.lifecycle import start, tried
from inrush.core.model.functions import Function
from inrush.core.model.quotas import exceeded
from inrush.core.model.state import State
from inrush.core.model.wanted import milli_of
from inrush.core.place.crowd import crowded, full
from inrush.core.place.refuse import over_quota, refusal
from inrush.core.pools.coming import coming
from inrush.core.pools.supply import supply
from inrush.core.scale.waiting import tell_waiting
from inrush.core.share.claims import lapse
from inrush.core.share.reclaim import reclaim
from inrush.wire import GpuRequest

STARTS_PER_STEP = 64

WORDS_S_PER_NODE = 0.01
WORDS_MAX_S = 5.0
FEW_NODES = 8
"""With more nodes than this, the text of a refusal, which names who holds what on all nodes, is rebuilt only now and
then."""

_Turn = tuple[int, float, int, float, int, Function]


def provision(state: State) -> None:
    """Places what is wanted, as far as there is room and this step may."""
    state.provision_due = False
    lapse(state)
    heap = [_turn(state, function) for function in state.hungry.values()]
    heapify(heap)
    refused: list[Function] = []
    left = STARTS_PER_STEP
    while heap and left > 0:
        function = heappop(heap)[-1]
        placed = _place(state, function)
        if not placed:
            refused.append(function)
            continue
        left -= placed
        if function.wanted > function.live:
            heappush(heap, _turn(state, function))
        else:
            _satisfied(state, function)
    _refuse(state, refused)
    if heap:
        state.provision_due = True
        state.provision_by(state.now)


def _place(state: State, function: Function) -> int:
    """Starts one more container or cluster. Returns how many containers that are; 0 when there is no room."""
    index, want, seen = state.index, function.want, state.index.read
    assert want is not None
    among = None if function.app in state.quotas else index.freed_since(function.freed_read)
    if (
        state.pools and function.measured.use is not None
    ):  # what the nodes here cannot serve may be served by one that comes
        among = [node for node in (state.nodes.values() if among is None else among) if not full(function, node)]
    if among == []:
        return 0
    used = state.used.get(function.app, {})

    def may(request: GpuRequest, gpu_type: str) -> bool:
        return not exceeded(state.quotas, function.app, used, gpu_type, milli_of(request))

    why = function.decisions[-1][1].why if function.decisions else ""
    function.freed_read, function.places = -1, []
    if function.spec.cluster_size > 1:
        seated, function.places = gather(state, function, lambda: index.find(want, None, may), why)
        if seated:
            form(state, function, seated)
            return len(seated)
        seen = index.read
    elif (placement := index.find(want, among, may)) is not None:
        start(state, function, placement, f"{why}; {placement.why}")
        return 1
    function.freed_read = seen
    return 0


def _turn(state: State, function: Function) -> _Turn:
    """The order of service: priority, then the app with the smallest share, then the function with fewest containers,
    then the one placed longest ago, then the older one."""
    app = state.share_of(function.app)
    return (-function.spec.priority, app, function.live, function.placed_at, function.order, function)


def _satisfied(state: State, function: Function) -> None:
    state.hungry.pop(function.id, None)
    function.refusal = ""
    tell_waiting(state, function)


def _refuse(state: State, refused: list[Function]) -> None:
    lacking = []
    for function in refused:
        function.refused_at = state.now
        if not function.refusal_words or state.now >= function.refusal_due:
            function.refusal_words = refusal(state, function)
            function.refusal_due = state.now + min(WORDS_MAX_S, WORDS_S_PER_NODE * max(0, len(state.nodes) - FEW_NODES))
        function.refusal = function.refusal_words
        if not over_quota(state, function):
            lacking.append(function)
    reclaim(state, [function for function in lacking if not crowded(state, function)])
    if state.pools:
        _supply(state, lacking)
    for function in refused:
        tell_waiting(state, function)
        if function.trial == "beside":
            tried(state, function, "no room", function.refusal)


def look_at_pools(state: State) -> None:
    """Looks at pools for functions that wait for nodes, and for nodes that stand empty."""
    refused = [function for function in state.hungry.values() if function.refusal and not over_quota(state, function)]
    _supply(state, refused)
    for function in refused:
        tell_waiting(state, function)


def _supply(state: State, lacking: list[Function]) -> None:
    supply(state, lacking)
    for function in lacking:
        function.refusal = "; ".join(filter(None, (function.refusal_words, coming(state, function))))
