"""What nodes should have reported by now. None of it is a contradiction in the state: it is a node, or a message, that
failed."""

from __future__ import annotations

from collections.abc import Iterator

from inrush.core.model.state import State

START_S = 900.0
"""A container that is not ready so long after its function's `startup_timeout`, such as while its image is built, is
told of."""


def overdue(state: State) -> list[str]:
    """Sentences about what should have been reported and was not; empty when nothing is late."""
    return list(_overdue(state))


def _overdue(state: State) -> Iterator[str]:
    for node in state.nodes.values():
        if node.silent:
            yield f"node {node.id} is set aside: {node.silent}"
    for container in state.containers.values():
        spec, late_s = state.functions[container.function].spec, state.now - container.stop_by
        who = f"container {container.id} of {spec.name} on {container.node}"
        if late_s > 0:
            yield f"{who} is stopping, and should have ended {late_s:.3g} s ago"
        elif container.state == "starting" and state.now - container.started_at > spec.startup_timeout_s + START_S:
            yield f"{who} has been starting for {state.now - container.started_at:.3g} s"
