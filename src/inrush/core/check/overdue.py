"""What nodes should have reported by now. None of it is a contradiction in the state: it is a node, or a message, that
failed."""

from __future__ import annotations

from collections.abc import Iterator

from inrush.core.model.state import State


def overdue(state: State) -> list[str]:
    """Sentences about what should have been reported and was not; empty when nothing is late."""
    return list(_overdue(state))


def _overdue(state: State) -> Iterator[str]:
    for node in state.nodes.values():
        if node.silent:
            yield f"node {node.id} is set aside: {node.silent}"
    for container in state.containers.values():
        late_s = state.now - container.stop_by
        if late_s > 0:
            yield (
                f"container {container.id} of {state.functions[container.function].spec.name} on {container.node} is "
                f"stopping, and should have ended {late_s:.3g} s ago"
            )
