"""Nodes that drain, flap, fill their disk or report nothing of their troubles are set aside: nothing more is placed on
them.

A node reports by itself that it is unfit (its disk is full, somebody drains it), and for how long. What it does not
report shows by failed starts: a start that fails although its function starts well elsewhere is charged to the node.
After three of them without a success the node is shunned for 10 s, then for twice as long each time, up to 10 min.
Afterwards one start tells whether the node has recovered. Where there are several environments, one of them alone takes
no node from the others.
"""

from __future__ import annotations

from inrush.core.model.functions import Function
from inrush.core.model.nodes import Node
from inrush.core.model.state import State

SHUN_AFTER = 3
"""Failed starts in a row, or departures, after which a node is shunned."""

SHUN_FIRST_S = 10.0
SHUN_MAX_S = 600.0
"""The time for which a node is shunned doubles each time, from SHUN_FIRST_S up to this."""

FLAP_WINDOW_S = 300.0
"""Departures that are further apart than this are not connected."""

FLAPS_MAX = 10_000
"""Nodes whose departures are remembered; the oldest are forgotten first."""


def blame(state: State, function: Function, node_id: str, why: str) -> bool:
    """Notes a failed start. Returns whether the node is taken to be the cause."""
    trouble, node = function.trouble, state.nodes.get(node_id)
    trouble.nodes[node_id] = None
    if len(trouble.nodes) > 1 or not function.ever_ready or len(state.nodes) < 2:
        for other in trouble.nodes:
            if other in state.nodes:
                state.nodes[other].blames.pop(function.id, None)
        return False
    if node is None:
        return True
    node.blames[function.id] = node.blames.get(function.id, 0) + 1
    if node.failures < SHUN_AFTER:
        return True
    if not _agreed(state, node):
        return False
    _shun(state, node, f"{node.failures} starts in a row failed on it, the last one: {why}")
    return True


def _agreed(state: State, node: Node) -> bool:
    """Whether functions of two environments failed on the node, or there is only one environment. User code can start
    well on one node and fail on another on purpose; so no environment takes a node from the others alone."""
    blaming = {state.functions[id].environment for id in node.blames if id in state.functions}
    return len(blaming) > 1 or all(function.environment in blaming for function in state.functions.values())


def absolve(node: Node) -> None:
    """Notes that a start succeeded on the node."""
    node.blames.clear()
    node.times_shunned = 0


def note_flap(state: State, node: Node) -> None:
    """Notes that the node left."""
    times, last = state.flaps.pop(node.id, (0, 0.0))
    state.flaps[node.id] = (times + 1 if state.now - last < FLAP_WINDOW_S else 1, state.now)
    while len(state.flaps) > FLAPS_MAX:
        del state.flaps[next(iter(state.flaps))]


def heed_flaps(state: State, node: Node) -> None:
    """Shuns a node that joins after leaving too often."""
    times, last = state.flaps.get(node.id, (0, 0.0))
    if times >= SHUN_AFTER and state.now - last < FLAP_WINDOW_S:
        node.times_shunned = times - SHUN_AFTER
        _shun(state, node, f"it left {times} times, each within {FLAP_WINDOW_S:g} s of the one before")


def forgive(state: State, node_id: str) -> None:
    """Ends the time for which nodes were shunned. One more failure, and such a node is shunned again."""
    node = state.nodes.get(node_id)
    if node is None or not node.shunned or state.now < node.shunned_until:
        return
    node.shunned = ""
    while node.failures >= SHUN_AFTER:
        function, count = next(iter(node.blames.items()))
        node.blames[function] = count - 1
        if count == 1:
            del node.blames[function]
    node.freed()
    state.provision_due = state.provision_due or bool(state.hungry)


def _shun(state: State, node: Node, why: str) -> None:
    if node.shunned or not any(not other.aside for other in state.nodes.values() if other is not node):
        return
    wait_s = min(SHUN_FIRST_S * 2.0 ** min(node.times_shunned, 16), SHUN_MAX_S)
    node.times_shunned += 1
    node.shunned, node.shunned_until = f"{why} (for {wait_s:g} s)", state.now + wait_s
    node.freed()
    state.timer(node.shunned_until, "node", node.id)
