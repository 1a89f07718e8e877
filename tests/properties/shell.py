"""A shell without IO, for property tests: it does what effects ask for, whenever the test lets it, and watches for what
must never happen."""

from __future__ import annotations

import math
from collections import defaultdict

from inrush.core.cluster import Cluster
from inrush.core.model import effects, events
from inrush.core.model.calls import INPUT
from inrush.core.model.nodes import cpu_to_give
from inrush.core.model.quotas import parse
from inrush.wire import Status


def _reach() -> dict[str, set[str]]:
    """From each state of an input, those that the table lets it come to in any number of moves."""
    found = {state: {state} for pair in INPUT.items() for state in (pair[0][0], pair[1])}
    for _ in found:
        for (before, _), after in INPUT.items():
            for reached in found.values():
                if before in reached:
                    reached.add(after)
    return found


REACH = _reach()

INDEXES = 20
"""Tests use indexes below this."""


class Shell:
    """Holds what runs where, as a real shell would know it from effects alone."""

    def __init__(self, seed: str = "property") -> None:
        self.cluster = Cluster(seed, quotas=parse("ap-1=A10G:3"))
        self.now = 0.0
        self.wake_at = math.inf
        self.starting: dict[str, effects.StartContainer] = {}
        self.alive: dict[str, str] = {}
        self.stopping: set[str] = set()
        self.unreported: set[str] = set()
        """Containers whose end the core has not been told of."""
        self.questions: dict[str, int] = {}
        self.runs: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self.resolved: set[tuple[str, int]] = set()
        self.forgotten: set[str] = set()
        self._where: dict[tuple[str, int], str] = {}

    def step(self, event: events.Event) -> list[effects.Effect]:
        """One step, its effects done, and everything checked."""
        if isinstance(event, events.Tick):
            self.wake_at = math.inf
        before = self._inputs()
        out = self.cluster.step(event, self.now)
        for effect in out:
            self._do(effect)
        assert self.cluster.violations() == []
        self._watch(before)
        return out

    def ready(self, container: str) -> None:
        del self.starting[container]
        self.step(events.ContainerReady(container, "fork", 5.0))

    def end(self, container: str, status: Status, ref: object = None) -> None:
        """The container ends; what it ran is gone with it."""
        self._forget_container(container)
        self.step(events.ContainerEnded(container, status, f"ended with {status.name}", ref))

    def vanish(self, container: str) -> None:
        """The container ends, or was never begun, and the report is lost."""
        self._forget_container(container)
        self.unreported.add(container)

    def answer(self) -> None:
        """Every node that was asked says which containers it has."""
        questions, self.questions = self.questions, {}
        for node, number in questions.items():
            there = tuple(container for container, where in self.alive.items() if where == node)
            self.step(events.NodeContainers(node, number, there))

    def finish(self, container: str, call: str, indexes: list[int], statuses: list[Status]) -> None:
        self.runs[container][call] -= set(indexes)
        self.step(events.AttemptsEnded(container, call, tuple(indexes), tuple(statuses), tuple(indexes)))

    def give_back(self, container: str, call: str, indexes: list[int]) -> None:
        self.runs[container][call] -= set(indexes)
        self.step(events.InputsReturned(container, call, tuple(indexes)))

    def lose(self, node: str) -> None:
        for container in [c for c, where in self.alive.items() if where == node]:
            self._forget_container(container)
        self.step(events.NodeLeft(node, "its link broke"))

    def running(self) -> list[tuple[str, str, list[int]]]:
        """(container, call, indexes) of everything that runs."""
        return [
            (container, call, sorted(indexes))
            for container, calls in self.runs.items()
            for call, indexes in calls.items()
            if indexes
        ]

    def _forget_container(self, container: str) -> None:
        self.starting.pop(container, None)
        self.alive.pop(container, None)
        self.stopping.discard(container)
        self.runs.pop(container, None)

    def _do(self, effect: effects.Effect) -> None:
        match effect:
            case effects.StartContainer():
                assert effect.why
                self.starting[effect.container] = effect
                self.alive[effect.container] = effect.node
            case effects.Dispatch() | effects.Recall() if effect.container in self.unreported:
                pass
            case effects.ListContainers():
                self.questions[effect.node] = effect.number
            case effects.Dispatch():
                assert effect.container in self.alive
                assert effect.container not in self.starting
                assert effect.container not in self.stopping
                here = self.runs[effect.container][effect.call]
                assert not here & set(effect.indexes)
                here.update(effect.indexes)
            case effects.Recall():
                assert effect.container in self.alive
            case effects.StopContainer():
                assert effect.why
                if effect.container in self.alive:
                    self.stopping.add(effect.container)
            case effects.Resolve():
                assert len(effect.indexes) == len(effect.statuses) == len(effect.refs) > 0
                assert effect.call not in self.forgotten
                keys = {(effect.call, index) for index in effect.indexes}
                assert len(keys) == len(effect.indexes)
                assert not keys & self.resolved, "at most one result of an input"
                self.resolved |= keys
            case effects.WakeAt():
                self.wake_at = min(self.wake_at, effect.at)

    def _inputs(self) -> dict[tuple[str, int], str]:
        return {(call.id, index): call.where(index) for call in self.cluster.calls.values() for index in range(INDEXES)}

    def _watch(self, before: dict[tuple[str, int], str]) -> None:
        after = self._inputs()
        for key, state in before.items():
            now = after.get(key, "done" if state != "unknown" else "unknown")
            assert now in REACH[state], f"input {key} went from {state} to {now}"


def drain(shell: Shell, rounds: int = 3000) -> None:
    """Let everything end well: starts succeed, attempts end OK, containers stop when told; ticks only as asked for."""
    for _ in range(rounds):
        if not any(c.queued or c.running or c.delayed for c in shell.cluster.calls.values()):
            return
        go_on(shell)
        if not (shell.stopping or shell.starting or shell.running()) and shell.wake_at < math.inf:
            shell.now = max(shell.now, shell.wake_at)
            shell.step(events.Tick())
    left = {c.id: (c.queued, len(c.running), len(c.delayed)) for c in shell.cluster.calls.values()}
    said = [line for function in shell.cluster.functions for line in shell.cluster.explain(function)]
    raise AssertionError(f"not everything ended: {left}\n" + "\n".join(said))


def go_on(shell: Shell) -> None:
    """What was told to stop ends, what starts becomes ready, what runs ends, and nodes answer what they are asked."""
    for container in list(shell.stopping):
        shell.end(container, Status.OK)
    for container in list(shell.starting):
        shell.ready(container)
    for container, call, indexes in shell.running():
        shell.now += 0.001
        shell.finish(container, call, indexes, [Status.OK] * len(indexes))
    shell.answer()


def empty(shell: Shell, rounds: int = 200) -> None:
    """Remove every function: in the end no container is left, and all that the nodes have is free."""
    for function in list(shell.cluster.functions):
        shell.step(events.FunctionRemoved(function, "the test ends"))
    for _ in range(rounds):
        if not shell.cluster.containers:
            break
        go_on(shell)
        shell.now = max(shell.now, min(shell.wake_at, shell.now + 10.0))
        shell.step(events.Tick())
    assert not shell.cluster.containers
    assert not shell.cluster.functions
    for node in shell.cluster.nodes.values():
        assert node.memory_mib == node.inventory.memory_mib
        assert node.cpu_milli == cpu_to_give(node.inventory)
        assert node.gpus_free == len(node.inventory.gpus)
