"""What follows when functions are added, overridden, replaced by a deploy or removed, and when a server restarts."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from inrush.core.calls.intake import call_arrived, cancel_running
from inrush.core.calls.outcome import fail_waiting, finish_if_done, tell_cancelled
from inrush.core.containers.lifecycle import drain, forget_if_gone, stop, tried
from inrush.core.model.effects import Waiting
from inrush.core.model.events import FunctionAdded, FunctionRemoved, FunctionReplaced, Restored, ScaleOverridden
from inrush.core.model.functions import Function, Trouble
from inrush.core.model.state import State
from inrush.core.model.wanted import wanted
from inrush.wire import ScalePolicy, Status


def function_added(state: State, event: FunctionAdded) -> None:
    """Has a function take calls. The same id again replaces its spec and keeps everything else."""
    function = state.functions.get(event.function)
    if function is None:
        policy = event.spec.scale
        function = Function(event.function, event.app, event.spec, event.durable, policy, state.next_serial())
        function.measured.tuning = state.tuning
        state.functions[function.id] = function
    elif function.spec != event.spec:
        function.ever_ready, function.trouble, function.refusal = False, Trouble(), ""
    function.spec, function.durable, function.removed = event.spec, event.durable, ""
    function.want, function.freed_read = wanted(function.id, event.spec, function.seats), -1
    function.adopt(_on_trial(event.spec.scale) if event.trial else event.spec.scale)
    function.trial = event.trial
    if function.ever_ready:
        tried(state, function, "ready")
    state.touch(function, poke=True)


def _on_trial(policy: ScalePolicy) -> ScalePolicy:
    """The policy with at least one container."""
    return msgspec.structs.replace(policy, min_containers=max(1, policy.min_containers))


def function_removed(state: State, event: FunctionRemoved) -> None:
    """Ends what waits as cancelled. With `drain` containers finish what they run before they stop; otherwise that is
    cancelled too."""
    function = state.functions.get(event.function)
    if function is None:
        return
    function.removed = event.why or "its function was removed"
    tried(state, function, "failed", function.removed)
    for call in function.calls.values():
        call.turn("cancel")
        call.why = function.removed
        if not event.drain:
            tell_cancelled(state, call)
            cancel_running(state, call, terminate=False, why=function.removed)
    fail_waiting(state, function, Status.CANCELLED, None, function.removed)
    _dismiss(state, function, event.drain)


def function_replaced(state: State, event: FunctionReplaced) -> None:
    """Carries out a rolling deploy: what waits of the old function goes to the new one, and what runs finishes where it
    is."""
    old, new = state.functions.get(event.old), state.functions.get(event.new)
    if old is None or old is new:
        return
    if new is None or new.removed:
        function_removed(state, FunctionRemoved(event.old, f"replaced by {event.new}, which is not there", drain=True))
        return
    for call in list(old.calls.values()):
        _move(old, new, call.id)
    old.removed = f"replaced by {event.new}"
    state.touch(new, poke=True)
    _dismiss(state, old, drain_first=True)


def scale_overridden(state: State, event: ScaleOverridden) -> None:
    """Sets scaling as a person asked, until the next deploy."""
    function = state.functions.get(event.function)
    if function is None:
        return
    fields = ("min_containers", "max_containers", "buffer_containers", "scaledown_window_s")
    given: dict[str, Any] = {name: value for name in fields if (value := getattr(event, name)) is not None}
    function.adopt(msgspec.structs.replace(function.policy, **given))
    state.touch(function, poke=True)


def restored(state: State, event: Restored) -> None:
    """Continues after a restart: durable calls run on from where the database says."""
    for function in event.functions:
        function_added(state, function)
    for arrived, missing in event.calls:
        _restore(state, arrived, missing)


def _restore(state: State, arrived: Any, missing: tuple[tuple[int, int], ...]) -> None:
    pending = sum(stop_ - first for first, stop_ in missing)
    call_arrived(state, arrived)
    call = state.calls.get(arrived.call)
    if call is None:
        return
    end = max([call.total, *(stop_ for _, stop_ in missing)])
    call.known.add(0, end)
    call.done = end - pending
    function = state.functions.get(call.function)
    if function is not None and call.state != "cancelled":
        for first, stop_ in missing:
            function.enqueue(call, range(first, stop_))
        state.touch(function, poke=True)
    finish_if_done(state, call)


def _move(old: Function, new: Function, call_id: str) -> None:
    """Moves a call with its waiting inputs from one function to another."""
    call = old.calls.pop(call_id)
    if call.queue:
        old.turns.remove(call)
        new.turns.append(call)
    if call.suspects:
        old.suspects = deque(other for other in old.suspects if other is not call)
        new.suspects.extend([call] * len(call.suspects))
    old.queued -= call.queued
    new.queued += call.queued
    old.delayed -= len(call.delayed)
    new.delayed += len(call.delayed)
    new.calls[call_id] = call
    call.function = new.id


def _dismiss(state: State, function: Function, drain_first: bool) -> None:
    """Stops all containers of a removed function."""
    state.hungry.pop(function.id, None)
    if function.waiting:
        function.waiting = ""
        state.out.append(Waiting(function.id, ""))
    for container in list(function.containers.values()):
        if drain_first:
            drain(state, container, function.removed)
        else:
            stop(state, container, function.removed)
    forget_if_gone(state, function)
