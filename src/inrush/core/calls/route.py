"""Which container takes which inputs, in O(1) each.

Calls of a function take turns, so that a map of a million inputs does not starve a single `.remote()`. Among containers
with room, the one used last is taken first, so that the others fall idle and can stop. Containers below the target come
before those that would burst to their maximum, and these before containers without a free slot, which are leased
inputs. A batch is spread evenly over all that have room.
"""

from __future__ import annotations

import math

from inrush.core.calls.lease import watch
from inrush.core.model.calls import Attempt, Call
from inrush.core.model.containers import Container
from inrush.core.model.effects import Dispatch, Waiting
from inrush.core.model.functions import Function
from inrush.core.model.state import State


def route(state: State, function: Function) -> None:
    """Dispatches what waits, as far as there is room: up to the target in all containers first, then up to the
    maximum."""
    if function.suspects:
        _route_suspects(state, function)
    while function.turns and function.below_target:
        _round(state, function, function.below_target, function.target)
    while function.turns and function.below_max:
        _round(state, function, function.below_max, function.slots)
    if function.turns and function.below_lease:
        _round(state, function, function.below_lease, function.slots + function.lease)
    if function.leased:
        watch(state, function)
    _note_queue(state, function)


def _round(state: State, function: Function, shelf: dict[str, Container], limit: int) -> None:
    """Gives each container on the shelf its share once; only then do they return to a shelf, so that a batch
    spreads."""
    turns = function.turns
    served: list[Container] = []
    while turns and shelf:
        container, share = pick(shelf, function.queued)
        served.append(container)
        if container.busy >= limit:
            continue
        call = turns[0]
        span = call.take(min(limit - container.busy, share))
        if call.queue:
            turns.rotate(-1)
        else:
            turns.popleft()
        _dispatch(state, function, container, call, span)
    for container in served:
        function.shelve(container)


def _route_suspects(state: State, function: Function) -> None:
    """Sends each suspect alone into an idle container. Where there is none, one container takes no more inputs until it
    is idle."""
    while function.suspects and function.idle:
        container = next(iter(function.idle.values()))
        call = function.suspects.popleft()
        index = call.suspects.pop(0)
        call.queued -= 1
        container.closed = True
        _dispatch(state, function, container, call, range(index, index + 1))
        function.shelve(container)
    ready = [container for container in function.containers.values() if container.state == "ready"]
    if function.suspects and ready and not any(container.closed for container in ready):
        chosen = min(ready, key=lambda container: container.busy)
        chosen.closed = True
        function.shelve(chosen)


def pick(shelf: dict[str, Container], waiting: int) -> tuple[Container, int]:
    """Takes the container used last off its shelf, with its share of what waits."""
    share = -(-waiting // len(shelf))
    return shelf.popitem()[1], share


def _dispatch(state: State, function: Function, container: Container, call: Call, span: range) -> None:
    count = len(span)
    measured, now = function.measured, state.now
    if not function.running:
        measured.progress_at = now
    attempt = Attempt(container, now)
    if count == 1:
        call.running[span.start] = attempt
    else:
        call.running.update(dict.fromkeys(span, attempt))
    container.calls[call.id] = container.calls.get(call.id, 0) + count
    if not container.busy:
        container.progress_at = now
    function.occupy(container, count)
    function.queued -= count
    if container.busy > function.target:
        state.review_by(function, now + state.tuning.burst_review_s)
    indexes = tuple(span)
    state.out.append(Dispatch(container.id, container.node, call.id, indexes))
    for follower in container.followers:
        follower.echoes.update((call.id, index) for index in span)
        state.out.append(Dispatch(follower.id, follower.node, call.id, indexes))


def _note_queue(state: State, function: Function) -> None:
    """Notes since when inputs have been waiting, or that none waits."""
    if function.queued:
        if function.queued_since > state.now:
            function.queued_since = state.now
        return
    function.queued_since = math.inf
    if function.waiting:
        function.waiting = ""
        state.out.append(Waiting(function.id, ""))
