"""What follows when a call arrives, ends, is cancelled or forgotten."""

from __future__ import annotations

from inrush.core.calls.outcome import finish_if_done, resolve, tell_cancelled
from inrush.core.containers.lifecycle import stop, waits
from inrush.core.model.calls import Call
from inrush.core.model.effects import CancelRun
from inrush.core.model.events import CallArrived, CallCancelled, CallEnded, CallForgotten, InputsArrived
from inrush.core.model.functions import Function
from inrush.core.model.state import State
from inrush.wire import Status


def call_arrived(state: State, event: CallArrived) -> None:
    """Takes in a call and the inputs that come with it. A call that is known already only gets its inputs."""
    if event.call not in state.calls:
        _begin(state, event)
    call = state.calls.get(event.call)
    if event.count and call is not None:
        _take(state, call, event.first, event.count)


def _begin(state: State, event: CallArrived) -> None:
    call = Call(event.call, event.function, event.kind, event.total, event.durable, event.caller)
    if event.total >= 0:
        call.turn("end")
    state.calls[call.id] = call
    if call.caller:
        waits(state, call.caller, 1)
    function = state.functions.get(event.function)
    if function is None or function.removed:
        call.why = function.removed if function is not None else f"function {event.function} is not there (any more)"
        call.turn("cancel")
    else:
        function.calls[call.id] = call
    if not event.total:
        finish_if_done(state, call)


def inputs_arrived(state: State, event: InputsArrived) -> None:
    """Takes in inputs of a call. Inputs that are known, and those of a call that is not known, are passed over."""
    call = state.calls.get(event.call)
    if call is not None:
        _take(state, call, event.first, event.count)


def _take(state: State, call: Call, first: int, count: int) -> None:
    fresh = call.known.add(first, first + count)
    if call.state in ("cancelled", "forgotten"):
        resolve(state, call, [index for span in fresh for index in span], Status.CANCELLED, None, call.why)
        finish_if_done(state, call)
        return
    function = state.functions[call.function]
    for span in fresh:
        function.enqueue(call, span)
        function.measured.arrivals.arrived(len(span), state.now)
    if fresh:
        _new_work(state, function)


def call_ended(state: State, event: CallEnded) -> None:
    """Notes the number of a call's inputs."""
    call = state.calls.get(event.call)
    if call is not None and call.total < 0:
        call.total = event.total
        call.turn("end")
        finish_if_done(state, call)


def call_cancelled(state: State, event: CallCancelled) -> None:
    """Cancels a call: its owner is told at once that all of it has ended, and what runs is told to end. With
    `terminate` the containers that run it are killed."""
    call = state.calls.get(event.call)
    if call is None:
        return
    call.turn("cancel")
    call.why = event.why
    resolve(state, call, _withdraw(state, call), Status.CANCELLED, None, event.why)
    tell_cancelled(state, call)
    cancel_running(state, call, event.terminate, event.why)
    finish_if_done(state, call)


def call_forgotten(state: State, event: CallForgotten) -> None:
    """Cancels a call that nobody waits for, without telling anybody."""
    call = state.calls.get(event.call)
    if call is None:
        return
    call.turn("forget")
    resolve(state, call, _withdraw(state, call), Status.CANCELLED, None, "")
    cancel_running(state, call, False, "")
    finish_if_done(state, call)


def _new_work(state: State, function: Function) -> None:
    """Marks a function for routing. An ephemeral function that had given up starting tries again."""
    trouble = function.trouble
    if trouble.given_up and not function.durable:
        trouble.failures, trouble.blocked_until = 0, 0.0
    trouble.given_up = False
    function.pressed = True
    state.touch(function)


def _withdraw(state: State, call: Call) -> list[int]:
    function = state.functions.get(call.function)
    if function is None or call.id not in function.calls:
        return []
    state.touch(function)
    return function.withdraw(call)


def cancel_running(state: State, call: Call, terminate: bool, why: str) -> None:
    places: dict[str, list[int]] = {}
    for index, attempt in call.running.items():
        places.setdefault(attempt.container.id, []).append(index)
    for container_id, indexes in places.items():
        container = state.containers[container_id]
        for member in (container, *container.followers):
            state.out.append(CancelRun(member.id, member.node, call.id, tuple(sorted(indexes))))
        if terminate:
            stop(state, container, f"terminated: {why}", kill=True)
