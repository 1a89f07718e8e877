"""Claims: devices kept free for a function that waits for several of them at once.

Without claims a stream of small containers takes each device as it becomes free, and a function that needs eight on one
node, or a whole cluster, waits for ever. One function at a time may claim, so that two never hold halves of what each
needs. It keeps its claims until it is served, wants nothing any more, or `CLAIM_S` have passed; then it waits as long
before it may claim again. Functions of higher priority pass over claims.
"""

from __future__ import annotations

from inrush.core.model.containers import Container
from inrush.core.model.functions import Function
from inrush.core.model.nodes import Claim, Node
from inrush.core.model.state import State
from inrush.core.model.wanted import accepts

CLAIM_S = 30.0


def needs_claim(function: Function) -> bool:
    """Whether the function cannot take devices one by one as they become free."""
    return function.spec.cluster_size > 1 or any(request.count > 1 for request in function.spec.resources.gpu)


def may_claim(state: State, function: Function) -> bool:
    """Whether the function is the one that claims, or may become it."""
    return state.claimant in ("", function.id) and state.now >= function.claim_due


def _claim(state: State, function: Function, node: Node, gpu_type: str, count: int) -> None:
    """Keeps `count` more devices of the node for the function."""
    if not state.claimant:
        state.claimant, state.claim_until = function.id, state.now + CLAIM_S
    before = node.claims.get(function.id)
    if before is not None and before.gpu_type == gpu_type:
        count += before.devices
    here = sum(gpu.type == gpu_type for gpu in node.inventory.gpus)
    node.claims[function.id] = Claim(gpu_type, min(count, here), function.spec.priority)
    state.claimed[node.id] = None


def keep(state: State, function: Function, taken: list[Container]) -> None:
    """Claims the devices that these containers will leave, if the function needs more than one, and the places that its
    cluster had found."""
    if not needs_claim(function) or not taken[0].gpus or not may_claim(state, function):
        return
    requests = function.spec.resources.gpu
    count = next((r.count for r in requests if accepts(r, taken[0].gpu_type)), 0)
    if count:
        _claim(state, function, state.nodes[taken[0].node], taken[0].gpu_type, count)
    for place in function.places:
        if place.gpus and place.node in state.nodes:
            _claim(state, function, state.nodes[place.node], place.gpu_type, len(place.gpus))
    function.places = []


def lapse(state: State) -> None:
    """Drops the claims of a function that needs them no longer or has had them for long enough."""
    if not state.claimant or (state.claimant in state.hungry and state.now < state.claim_until):
        return
    function = state.functions.get(state.claimant)
    if function is not None:
        function.claim_due = state.now + CLAIM_S if state.now >= state.claim_until else state.now
    for node_id in state.claimed:
        node = state.nodes.get(node_id)
        if node is not None and node.claims.pop(state.claimant, None) is not None:
            node.freed()
    state.claimed.clear()
    state.claimant = ""
