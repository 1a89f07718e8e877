"""Why the calls of a function wait, as one sentence."""

from __future__ import annotations

from inrush.core.model.effects import Waiting
from inrush.core.model.functions import Function
from inrush.core.model.state import State

PATIENCE_S = 0.1
"""Callers hear that all containers are busy only after this long, since busy containers are normal."""


def tell_waiting(state: State, function: Function) -> None:
    """Tells callers why their inputs wait, if that has changed."""
    why = waiting_for(state, function)
    if why != function.waiting:
        function.waiting = why
        state.out.append(Waiting(function.id, why))


def waiting_for(state: State, function: Function) -> str:
    """What the calls of a function wait for; empty when they do not wait."""
    if not function.queued:
        return ""
    if not state.nodes:
        return (function.refusal if state.pools else "") or "no node has joined yet"
    trouble, starting, ready = function.trouble, function.counts["starting"], function.counts["ready"]
    if state.now < trouble.blocked_until and not function.live:
        often = f", {times(trouble.failures)}" if trouble.failures else ""
        return f"its container could not start{often} ({trouble.why}); tried again after a while"
    if starting and not ready:
        return f"{_count(starting)} starting"
    if function.refusal and not ready:
        return function.refusal
    if not function.live:
        return "max_containers is 0" if function.policy.max_containers == 0 else function.waiting
    if state.now - function.queued_since < PATIENCE_S:
        return function.waiting
    return _busy(function, starting)


def _busy(function: Function, starting: int) -> str:
    """Says that all containers are busy, without counts, so that the sentence changes only when something happens."""
    most = function.policy.max_containers
    if starting and not function.held_back:
        return "all its containers are busy, more are starting"
    if most is not None and function.live >= most:
        return f"all its containers are busy, and max_containers is {most}"
    text = "all its containers are busy"
    return "; ".join(filter(None, (text, function.refusal or function.held_back)))


def _count(containers: int) -> str:
    return "1 container is" if containers == 1 else f"{containers} containers are"


def times(count: int) -> str:
    """The count as a word: once, or so many times."""
    return "once" if count == 1 else f"{count} times"
