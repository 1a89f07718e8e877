"""The core's face: `Cluster.step(event, now)` takes what happened and returns what has to be done. Nothing else changes
the state.

A step has four parts, always in this order:

1. The event's handler changes the state (`calls`, `changes`).
2. Timers that are due fire, such as a retry or a review.
3. For each function that was touched, inputs are routed to free slots, and its scale is reviewed where something calls
   for it.
4. Functions that want more containers get them in turn, as far as there is room.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from heapq import heappop
from types import MappingProxyType
from typing import Any

from inrush.core import explain
from inrush.core.calls.intake import call_arrived, call_cancelled, call_ended, call_forgotten, inputs_arrived
from inrush.core.calls.lease import look
from inrush.core.calls.outcome import attempts_ended, inputs_returned, retry_due
from inrush.core.calls.route import route
from inrush.core.changes.containers import container_drained, container_ended, container_leaving, container_ready
from inrush.core.changes.functions import (
    function_added,
    function_removed,
    function_replaced,
    restored,
    scale_overridden,
)
from inrush.core.changes.nodes import cpu_used, node_changed, node_held, node_joined, node_left
from inrush.core.changes.reconcile import node_containers, question_due
from inrush.core.check import checkpoint, invariants
from inrush.core.check.overdue import overdue
from inrush.core.model import events
from inrush.core.model.calls import Call
from inrush.core.model.containers import Container
from inrush.core.model.effects import Effect, WakeAt
from inrush.core.model.functions import Function
from inrush.core.model.graphs import Plain
from inrush.core.model.nodes import Node
from inrush.core.model.pools import Pool
from inrush.core.model.quotas import Quotas
from inrush.core.model.state import State
from inrush.core.model.tuning import TUNING, Tuning
from inrush.core.place.health import forgive
from inrush.core.place.index import Index
from inrush.core.pools import coming
from inrush.core.pools.supply import nodes_failed, pool_joined
from inrush.core.scale.sizing import plan_idle, review
from inrush.core.scale.waiting import tell_waiting
from inrush.core.share.provision import look_at_pools, provision
from inrush.wire import ScalePolicy


def _tick(state: State, event: events.Tick) -> None:
    """Time has passed. Timers do the rest, and the shell, whose alarm may have rung, is told again when to wake the
    core."""
    state.told = math.inf


HANDLERS: dict[type, Callable[[State, Any], None]] = {
    events.AttemptsEnded: attempts_ended,
    events.InputsReturned: inputs_returned,
    events.CallArrived: call_arrived,
    events.InputsArrived: inputs_arrived,
    events.CallEnded: call_ended,
    events.CallCancelled: call_cancelled,
    events.CallForgotten: call_forgotten,
    events.ContainerReady: container_ready,
    events.ContainerLeaving: container_leaving,
    events.ContainerDrained: container_drained,
    events.ContainerEnded: container_ended,
    events.FunctionAdded: function_added,
    events.FunctionRemoved: function_removed,
    events.FunctionReplaced: function_replaced,
    events.ScaleOverridden: scale_overridden,
    events.NodeJoined: node_joined,
    events.NodeHeld: node_held,
    events.CpuUsed: cpu_used,
    events.NodeLeft: node_left,
    events.NodeChanged: node_changed,
    events.NodeContainers: node_containers,
    events.PoolJoined: pool_joined,
    events.NodesFailed: nodes_failed,
    events.Restored: restored,
    events.Tick: _tick,
}

REST_S_PER_NODE = 0.0002
"""For each node, more work for a function without a place causes a review no more often than this, because the cost of
a review grows with the nodes."""


class Cluster:
    """Everything the core knows, and its decisions. The same events at the same times, with the same seed, give the
    same effects.

    `functions`, `containers`, `nodes`, `pools` and `calls` are views by id for shells to read; only `step` changes
    anything.
    """

    def __init__(self, seed: str, tuning: Tuning = TUNING, quotas: Quotas = MappingProxyType({})) -> None:
        self._hold(State(seed, Index(), tuning, quotas=quotas))

    @classmethod
    def restored(cls, plain: Plain, tuning: Tuning = TUNING) -> Cluster:
        """A Cluster that continues from a `checkpoint`. Raises `InvalidError` when the data is none."""
        cluster = cls.__new__(cls)
        cluster._hold(checkpoint.restore(plain, tuning))
        return cluster

    def become(self, other: Cluster) -> None:
        """Takes over the state of another one, which must not be used any more."""
        self._hold(other._state)

    def _hold(self, state: State) -> None:
        self._state = state
        self.seed, self.quotas = state.seed, state.quotas
        self.functions: Mapping[str, Function] = MappingProxyType(self._state.functions)
        self.containers: Mapping[str, Container] = MappingProxyType(self._state.containers)
        self.nodes: Mapping[str, Node] = MappingProxyType(self._state.nodes)
        self.pools: Mapping[str, Pool] = MappingProxyType(self._state.pools)
        self.calls: Mapping[str, Call] = MappingProxyType(self._state.calls)

    def step(self, event: events.Event, now: float) -> list[Effect]:
        """Takes an event at `now` (seconds, of any epoch; a clock that goes back is held still) and returns what to do,
        in order."""
        state = self._state
        if now > state.now:
            state.now = now
        HANDLERS[type(event)](state, event)
        if state.timers and state.timers[0].at <= state.now:
            _fire(state)
        while state.touched:
            _settle(state)
        if state.hungry and state.provision_due:
            provision(state)
        if state.timers and (state.timers[0].at < state.told or state.told <= state.now):
            state.told = state.timers[0].at
            state.out.append(WakeAt(state.told))
        out, state.out = state.out, []
        return out

    def explain(self, function: str) -> list[str]:
        """Sentences about a function: its policy, load, containers, last decisions, and what its calls wait for."""
        return explain.explain(self._state, function)

    def explain_pool(self, pool: str) -> coming.Outlook:
        """The state of a pool: nodes on their way, why none can be ordered, and its last orders. Raises KeyError for an
        unknown pool."""
        return coming.outlook(self._state.pools[pool], self._state.now)

    def stats(self, function: str) -> dict[str, int]:
        """`backlog`, `containers`, `running_inputs` and `input_headroom` of a function. Raises KeyError for an unknown
        function."""
        return explain.stats(self._state.functions[function])

    def policy(self, function: str) -> ScalePolicy:
        """The scaling policy of a function, with what people have overridden. Raises KeyError for an unknown
        function."""
        return self._state.functions[function].policy

    def share(self, function: str) -> float:
        """The dominant share of a function's containers: the largest part that they hold of all cpu, memory or devices.
        Raises KeyError for an unknown function."""
        found = self._state.functions[function]
        return found.live * self._state.share_of_one(found)

    def checkpoint(self, values_max: int = 10**9) -> Plain | None:
        """The whole state as plain data, between two steps: see `checkpoint.capture`."""
        return checkpoint.capture(self._state, values_max)

    def overdue(self) -> list[str]:
        """Sentences about containers that should have ended by now, and nodes that leave questions unanswered."""
        return overdue(self._state)

    def violations(self) -> list[str]:
        """Sentences about what in the state contradicts itself. Anything but an empty list is a defect of the core."""
        return invariants.violations(self._state)


def _settle(state: State) -> None:
    """Routes inputs for every function that was touched, and reviews the scale of those that were poked."""
    touched, state.touched = state.touched, {}
    for function in touched.values():
        route(state, function)
        if function.idle and state.hungry and state.now >= state.reclaim_due:
            state.provision_due = True
        pressed, function.pressed = function.pressed, False
        if function.poked or (pressed and _matters(state, function)):
            review(state, function)
            tell_waiting(state, function)
        elif function.idle:
            plan_idle(state, function)


def _matters(state: State, function: Function) -> bool:
    """Whether more work is a reason for a review now. A function that has no place for more containers is reviewed only
    now and then."""
    if not function.queued:
        return bool(function.policy.buffer_containers) or state.now >= function.look_at
    rest_s = min(state.tuning.refused_review_s, REST_S_PER_NODE * len(state.nodes))
    return not function.refusal or state.now - function.refused_at >= rest_s


def _fire(state: State) -> None:
    """Fires every timer whose time has come."""
    while state.timers and state.timers[0].at <= state.now:
        timer = heappop(state.timers)
        if timer.kind == "retry":
            retry_due(state, timer.key, timer.input)
        elif timer.kind == "pools" and timer.at == state.pools_look:
            look_at_pools(state)
        elif timer.kind == "provision":
            state.provision_due, state.provision_at = True, math.inf
        elif timer.kind == "node":
            forgive(state, timer.key)
        elif timer.kind == "question":
            question_due(state, timer.key)
        elif timer.kind == "lease":
            if (function := state.functions.get(timer.key)) is not None:
                look(state, function)
        elif timer.kind == "review":
            function = state.functions.get(timer.key)
            if function is not None and function.review_at == timer.at:
                state.touch(function, poke=True)
