"""Clusters: functions whose inputs run in several containers at once, in all of them or in none.

The first container of a cluster, its leader, stands for all: scaling counts it, it is idle or not, and inputs are
routed to it. The others follow it: they are placed, started and stopped with it, and run each input beside it, but only
the leader's result counts. Either all are placed in one step, or none is and no resources are held, so that two
clusters never wait for each other's halves. When one container of a cluster is gone, the others are stopped. An input
that fails in a follower fails, since the leader would wait for it, and the cluster is stopped.
"""

from __future__ import annotations

from collections.abc import Callable

from inrush.core.containers.lifecycle import seat, stop, tell_start, unseat
from inrush.core.model.containers import Container
from inrush.core.model.functions import Function
from inrush.core.model.state import State
from inrush.core.model.wanted import Placement

Find = Callable[[], Placement | None]


def members(container: Container) -> list[Container]:
    """All containers of the cluster, the leader first."""
    leader = container.leader or container
    return [leader, *leader.followers]


def form(state: State, function: Function, seated: list[Container]) -> None:
    """Makes these containers one cluster, and starts them."""
    leader, *others = seated
    leader.followers = others
    function.containers[leader.id] = leader
    function.counts["starting"] += 1
    function.started_at_sum += state.now
    for follower in others:
        follower.leader = leader
        function.followers[follower.id] = follower
    for number, member in enumerate(seated):
        tell_start(state, member, number)


def gather(state: State, function: Function, find: Find, why: str) -> tuple[list[Container], list[Placement]]:
    """Seats a whole cluster. Where there are too few places it seats none, and returns the places that there were."""
    size = function.spec.cluster_size
    due = state.provision_due
    seated: list[Container] = []
    places: list[Placement] = []
    for number in range(size):
        placement = find()
        if placement is None:
            for container in seated:
                unseat(state, function, container)
            state.provision_due = due
            return [], places
        places.append(placement)
        seated.append(seat(state, function, placement, f"{why}; {number + 1} of {size} together; {placement.why}"))
    return seated, places


def disband(state: State, container: Container, why: str) -> None:
    """Stops the rest of a cluster of which a container is gone, except those that were told to stop and have their
    grace time."""
    leader = container.leader or container
    if not leader.followers:
        return
    for member in members(container):
        if member is not container and member.id in state.containers and member.state != "stopping":
            stop(state, member, f"another container of its cluster is gone: {why}", kill=True)
