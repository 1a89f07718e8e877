"""Clusters: functions whose inputs run in several containers at once, all of them or none.

The first container of a cluster, its leader, stands for all: it is what scaling counts, what is idle, and what inputs
are routed to. The others follow it: they are seated, started and stopped with it, and run each input beside it; only
the leader's result counts. All are seated in one step, or none is and nothing is held: two clusters never wait for
each other's halves. When one of a cluster is gone, the others have no future. An input that fails in a follower
fails, since its leader would wait for it; its cluster is let go then.
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
    """All of its cluster, the leader first."""
    leader = container.leader or container
    return [leader, *leader.followers]


def form(state: State, function: Function, seated: list[Container]) -> None:
    """These containers are one cluster from now on, and start."""
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
    """Seats for a whole cluster; none, and the places that there were, when there are too few."""
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
    """One of a cluster is gone: so are the others, but for those that were told to go and have their grace."""
    leader = container.leader or container
    if not leader.followers:
        return
    for member in members(container):
        if member is not container and member.id in state.containers and member.state != "stopping":
            stop(state, member, f"another container of its cluster is gone: {why}", kill=True)
