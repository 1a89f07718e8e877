"""Reconciliation: compares the containers that the core has recorded for a node with those that the node reports.

A node that should have containers is asked regularly which containers it has. The link keeps messages in order. So an
answer reflects every order that was sent before the question, and every end that the node knows of was reported before
the answer. It follows that:

- A container that was ordered before the question and is not in the answer has ended, and no report of it will come.
- A container that the core does not know is killed.
- A container that should have ended by now is killed, again if need be.

A node that leaves a question open for `SILENT_S` gets no more containers. After `LOST_S` its containers are taken as
lost, and what they ran is tried elsewhere; should the node answer after all, they are killed there.
"""

from __future__ import annotations

import math

from inrush.core.changes.nodes import lose
from inrush.core.containers.lifecycle import insist, plan_question
from inrush.core.model.effects import ListContainers, StopContainer
from inrush.core.model.events import NodeContainers
from inrush.core.model.nodes import Node
from inrush.core.model.state import State

SILENT_S = 30.0
LOST_S = 60.0


def question_due(state: State, node_id: str) -> None:
    """Asks a node which containers it has, and handles an earlier question that is still unanswered."""
    node = state.nodes.get(node_id)
    if node is None:
        return
    node.questioned = False
    if not (node.containers or node.silent):
        node.asked_at = math.inf
        return
    waited_s = state.now - node.asked_at
    if waited_s >= LOST_S:
        for container in list(node.containers.values()):
            lose(state, container, f"node {node.id} has not answered for {LOST_S:g} s")
    if waited_s >= SILENT_S and not node.silent:
        node.silent = f"it has not answered for {SILENT_S:g} s"
        node.freed()
    if node.asked_at == math.inf:
        node.questions += 1
        node.asked_at = state.now
    state.out.append(ListContainers(node.id, node.questions))
    plan_question(state, node)


def node_containers(state: State, event: NodeContainers) -> None:
    """Compares a node's answer with the containers that are recorded for it."""
    node = state.nodes.get(event.node)
    if node is None or event.number != node.questions or node.asked_at == math.inf:
        return
    asked_at, node.asked_at = node.asked_at, math.inf
    if node.silent:
        node.silent = ""
        node.freed()
        state.provision_due = state.provision_due or bool(state.hungry)
    _find_lost(state, node, event.containers, asked_at)
    for container_id in event.containers:
        container = state.containers.get(container_id)
        if container is None:
            why = "the server does not know it"
            state.out.append(StopContainer(container_id, node.id, 0.0, kill=True, why=why))
        elif state.now > container.stop_by:
            insist(state, container)


def _find_lost(state: State, node: Node, there: tuple[str, ...], asked_at: float) -> None:
    """Ends containers that were ordered before the question and are not in the answer."""
    here = set(there)
    for container in [c for c in node.containers.values() if c.id not in here and c.started_at < asked_at]:
        if container.id in state.containers:
            lose(state, container, f"node {node.id} does not have it, and never reported its end")
