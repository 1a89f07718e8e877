"""Leases: inputs sent ahead to a container that is busy, so that the next one is there when the last one ends.

An input shorter than the way between server and container leaves a container idle for most of its time: it waits for
the next. So where inputs are measured to be short, a container is sent more of them than it runs at once; it runs them
in order, as its slots come free. An input that is leased has not begun: to scaling it waits, it can be had back
(`Recall`, answered by `InputsReturned`), and that costs it no retry. It is had back when its container shows no
progress for a while (`stale_s`), and another one does or has room: then an input turned out long, and it holds up none
of those behind it. On a busy machine a container may show no progress because it had no turn on a processor; what it
was sent would fare no better elsewhere, and so the while is longer than such pauses have lately been.

What yields is not leased, nor anything for a container that takes one input only. A container that waits for a call of
its own is sent nothing ahead: it may be what its call waits for. After a crash, which says less the more inputs a
container had, a function's inputs go one by one for a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inrush.core.model.effects import Recall

if TYPE_CHECKING:
    from inrush.core.model.containers import Container
    from inrush.core.model.functions import Function
    from inrush.core.model.state import State

SHORT_S = 0.001
"""Inputs that take longer are not leased."""

AHEAD_S = 0.008
"""A container is given about so much work ahead of what it runs."""

LEAST, MOST = 8, 64
"""Bounds of the inputs leased to one container."""

STALE_S, STALE_MOST_S = 0.005, 0.1
"""Bounds of the time after which a container with leased inputs that has ended none is stuck with a long one."""

WARY_S = 1.0
"""For so long after a crash nothing is leased."""


def depth(function: Function, now: float) -> int:
    """How many inputs beyond its slots a container of this function is sent now."""
    service_s = function.measured.service_s
    if (
        service_s is None
        or service_s >= SHORT_S
        or function.policy.single_use
        or function.spec.cluster_size > 1
        or now < function.wary_until
    ):
        return 0
    if function.spec.web or function.spec.generators:
        return 0
    return MOST if service_s * MOST <= AHEAD_S else max(LEAST, int(AHEAD_S / service_s))


def stale_s(function: Function) -> float:
    """After how long without progress a container is stuck: twice the longest pause that was no long input's."""
    return min(STALE_MOST_S, max(STALE_S, 2 * function.measured.pause_s))


def watch(state: State, function: Function) -> None:
    """Sets a timer that looks after leased inputs."""
    if function.leased and not function.watched:
        function.watched = True
        state.timer(state.now + stale_s(function), "lease", function.id)


def look(state: State, function: Function) -> None:
    """Recalls leased inputs from containers that are stuck, if another container can run them."""
    function.watched = False
    since = state.now - stale_s(function)
    stale = [c for c in function.leasing.values() if c.progress_at <= since]
    if len(stale) < len(function.leasing):
        watch(state, function)
    if stale and _others(function, since):
        for container in stale:
            if not container.recalled:
                recall(state, function, container)


def recall(state: State, function: Function, container: Container) -> None:
    """Asks a container to give back what it has not begun. Until it ends an input, it is leased nothing."""
    container.recalled = True
    function.shelve(container)
    state.out.append(Recall(container.id, container.node))


def _others(function: Function, since: float) -> bool:
    """Whether any other container has room or makes progress."""
    if function.below_target or function.below_max:
        return True
    return any(c.state == "ready" and c.progress_at > since for c in function.containers.values())
