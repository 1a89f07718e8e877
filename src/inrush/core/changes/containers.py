"""What follows when a container becomes ready or ends, and what a failed start means for the inputs that wait."""

from __future__ import annotations

from inrush.core.calls import outcome
from inrush.core.containers.clusters import disband, members
from inrush.core.containers.lifecycle import drain, forget_if_gone, remove, stop, tried, turn
from inrush.core.model.containers import Container
from inrush.core.model.events import ContainerDrained, ContainerEnded, ContainerLeaving, ContainerReady
from inrush.core.model.functions import Function, Trouble
from inrush.core.model.state import State
from inrush.core.place.health import absolve, blame
from inrush.wire import Status

START_RETRIES = 3
"""A start that crashed is tried again so often before what waits is failed."""

BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 60.0
"""The wait after a failed start doubles with each failure, from BACKOFF_FIRST_S up to this."""

UNABLE_S = 0.5
"""The wait after a start that its node could not carry out. However often that happens, nothing is failed for it."""


def container_ready(state: State, event: ContainerReady) -> None:
    """A container's enter hooks have run, so it takes inputs."""
    container = state.containers.get(event.container)
    if container is None or container.state not in ("starting", "stopping"):
        return
    container.how, container.well = event.how, True
    absolve(state.nodes[container.node])
    if container.leader is not None:
        turn(state, container, "ready")
        container = container.leader
    if container.state not in ("starting", "stopping") or not all(member.well for member in members(container)):
        return
    turn(state, container, "ready")
    function = state.functions[container.function]
    container.ready_at = container.idle_since = state.now
    function.measured.started(state.now - container.started_at, state.now)
    function.ever_ready = True
    tried(state, function, "ready", container=container.id)
    function.trouble = Trouble()
    function.shelve(container)
    state.touch(function, poke=True)


def container_leaving(state: State, event: ContainerLeaving) -> None:
    """A container ends by itself. What it does not finish is tried elsewhere at no cost, as after any stop."""
    container = state.containers.get(event.container)
    if container is not None:
        stop(state, container.leader or container, event.why)
        state.touch(state.functions[container.function], poke=True)


def container_drained(state: State, event: ContainerDrained) -> None:
    """Lets a container finish what it runs, and then go."""
    container = state.containers.get(event.container)
    if container is not None:
        drain(state, container.leader or container, event.why)
        state.touch(state.functions[container.function], poke=True)


def container_ended(state: State, event: ContainerEnded) -> None:
    """A container has ended. What it ran is tried again or given up; a failed start may mean that what waits cannot
    run."""
    container = state.containers.get(event.container)
    if container is None:
        return
    before, asked = container.state, container.state == "stopping"
    remove(state, container)
    disband(state, container, event.why)
    function = state.functions[container.function]
    status = _blame(event.status, container, asked)
    outcome.died(state, container, status, event.ref, event.why)
    never_served = before == "starting" or (
        before == "ready" and container.leader is None and container.served == 0 and not container.calls
    )
    if never_served and status not in (Status.LOST, Status.OK, Status.CANCELLED):
        failed_start(state, function, container, status, event)
    elif before == "starting" and status == Status.LOST and not asked:
        function.trouble.why = event.why
        function.trouble.blocked_until = max(function.trouble.blocked_until, state.now + UNABLE_S)
    state.touch(function, poke=True)
    forget_if_gone(state, function)


def failed_start(state: State, function: Function, container: Container, status: int, event: ContainerEnded) -> None:
    """Counts a failed start, blocks further starts for a while, and fails what waits when another try would be
    useless."""
    trouble = function.trouble
    trouble.why = event.why
    if blame(state, function, container.node, event.why):
        return
    if container.started_at >= trouble.last_at:  # else it was under way when an earlier one failed: the same trouble
        trouble.failures += 1
        trouble.last_at = state.now
        wait_s = min(BACKOFF_FIRST_S * 2.0 ** min(trouble.failures - 1, 16), BACKOFF_MAX_S)
        trouble.blocked_until = state.now + wait_s
    hopeless = status == Status.STARTUP and not function.ever_ready
    if not hopeless and trouble.failures <= START_RETRIES:
        return
    if function.trial:  # whoever tries it decides what becomes of what waits
        tried(state, function, "failed", event.why, container.id)
    else:
        trouble.given_up = True
        outcome.fail_waiting(state, function, status, event.ref, event.why)


def _blame(status: int, container: Container, asked: bool) -> int:
    """What an end means: one that the core asked for is nobody's fault, and one that nobody asked for is never in
    order."""
    if container.killed or container.preempted:
        return Status.LOST
    if status in (Status.OK, Status.CANCELLED):
        return Status.LOST if asked else Status.CRASHED
    return status
