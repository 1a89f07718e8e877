"""Safety: whatever happens, in whatever order, the state stays sound and no input has two results. Liveness: once there
is room and nothing fails any more, everything ends, and when all functions are removed, everything is free again, also
what was held by containers whose end nobody reported."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inrush.core.model import events
from inrush.wire import (
    FunctionSpec,
    Gpu,
    GpuRequest,
    Inventory,
    Resources,
    Retries,
    ScalePolicy,
    Status,
)
from properties.shell import Shell, drain, empty

A10G = Resources(gpu=(GpuRequest(type="A10G"),))
SPECS = (
    FunctionSpec(name="plain"),
    FunctionSpec(name="wide", scale=ScalePolicy(max_inputs=4, target_inputs=2, max_containers=3), resources=A10G),
    FunctionSpec(name="once", scale=ScalePolicy(single_use=True, buffer_containers=1), resources=A10G),
    FunctionSpec(name="again", retries=Retries(max_retries=2, initial_delay_s=0.5)),
    FunctionSpec(
        name="big",
        scale=ScalePolicy(min_containers=1, max_inputs=2),
        resources=Resources(cpu=2.0, memory_mib=1000, gpu=(GpuRequest(type="A100", count=2), GpuRequest(type="ANY"))),
    ),
)
SPECS = (
    *SPECS,
    FunctionSpec(name="half", resources=Resources(gpu=(GpuRequest(type="A10G", share=0.5),)), priority=-1),
    FunctionSpec(name="pair", cluster_size=2, resources=A10G, priority=1),
    FunctionSpec(name="trio", cluster_size=3, scale=ScalePolicy(max_containers=2), resources=Resources(cpu=0.5)),
    FunctionSpec(name="fixed", resources=A10G, nonpreemptible=True),
)
INVENTORIES = (
    Inventory(cpu=1.0, memory_mib=1000),
    Inventory(cpu=4.0, memory_mib=2000, gpus=tuple(Gpu(type="A10G", index=i) for i in range(2))),
    Inventory(cpu=8.0, memory_mib=4000, gpus=tuple(Gpu(type="A100-80GB", index=i) for i in range(2))),
)
ROOMY = Inventory(
    cpu=64.0,
    memory_mib=64_000,
    gpus=tuple(Gpu(type=t, index=i) for t in ("A10G", "A100") for i in range(16)),
)
KINDS = ("remote", "map", "gen", "spawn", "web")
ENDS = (Status.OK, Status.ERROR, Status.ERROR, Status.LOST, Status.CRASHED)
functions = st.integers(0, len(SPECS) - 1)
picks = st.integers(0, 10_000)


class Anything(RuleBasedStateMachine):
    """Events in any order, most of them possible, some of them stale, repeated or about nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.shell = Shell()
        self.calls: list[str] = []
        self.versions = [0] * len(SPECS)

    def _function(self, number: int) -> str:
        return f"fn-{number}-{self.versions[number]}"

    def _call(self, pick: int) -> str:
        return self.calls[pick % len(self.calls)]

    @initialize(numbers=st.sets(functions, min_size=2), inventory=st.sampled_from(INVENTORIES))
    def begin(self, numbers: set[int], inventory: Inventory) -> None:
        self.shell.step(events.NodeJoined("no-0", inventory))
        for number in sorted(numbers):
            self.add(number, durable=number % 2 == 0)
            self.arrive(number, KINDS[number % len(KINDS)], 6, 6)

    @rule(number=st.integers(0, 2), inventory=st.sampled_from(INVENTORIES), stray=st.booleans())
    def join(self, number: int, inventory: Inventory, stray: bool) -> None:
        node = f"no-{number}"
        if node in self.shell.cluster.nodes:
            inventory = self.shell.cluster.nodes[node].inventory
        here = tuple(c for c, where in self.shell.alive.items() if where == node)
        self.shell.step(events.NodeJoined(node, inventory, (*here, "co-stray") if stray else here))

    @rule(number=st.integers(0, 2))
    def leave(self, number: int) -> None:
        self.shell.lose(f"no-{number}")

    @rule(number=st.integers(0, 2), unfit=st.sampled_from(("", "", "its disk is full")), drains=st.booleans())
    def tell_of_a_node(self, number: int, unfit: str, drains: bool) -> None:
        self.shell.step(events.NodeChanged(f"no-{number}", ("im-1", f"fn-{number}-0"), unfit, bool(unfit) and drains))

    @rule(number=functions, durable=st.booleans())
    def add(self, number: int, durable: bool) -> None:
        self.shell.step(events.FunctionAdded(self._function(number), f"ap-{number % 2}", SPECS[number], durable))

    @rule(number=functions, drains=st.booleans())
    def remove(self, number: int, drains: bool) -> None:
        self.shell.step(events.FunctionRemoved(self._function(number), "stopped", drains))

    @rule(number=functions)
    def deploy_again(self, number: int) -> None:
        old = self._function(number)
        self.versions[number] += 1
        self.shell.step(events.FunctionAdded(self._function(number), f"ap-{number % 2}", SPECS[number], True))
        self.shell.step(events.FunctionReplaced(old, self._function(number)))

    @rule(number=functions, least=st.integers(0, 2), most=st.integers(1, 5))
    def override(self, number: int, least: int, most: int) -> None:
        self.shell.step(events.ScaleOverridden(self._function(number), least, max(least, most), 1, 3.0))

    @rule(number=functions, kind=st.sampled_from(KINDS), total=st.integers(-1, 12), count=st.integers(0, 12), by=picks)
    def arrive(self, number: int, kind: str, total: int, count: int, by: int = 0) -> None:
        call = f"ca-{len(self.calls)}"
        self.calls.append(call)
        callers = ["", *self.shell.alive]
        caller = callers[by % len(callers)]
        self.shell.step(events.CallArrived(call, self._function(number), kind, total, caller=caller))
        self.shell.step(events.InputsArrived(call, 0, count if total < 0 else min(count, total)))

    @precondition(lambda self: self.calls)
    @rule(pick=picks, first=st.integers(0, 10), count=st.integers(1, 8))
    def inputs(self, pick: int, first: int, count: int) -> None:
        call = self._call(pick)
        known = self.shell.cluster.calls.get(call)
        if known is not None and known.total >= 0:
            count = max(0, min(count, known.total - first))
        self.shell.step(events.InputsArrived(call, first, count))

    @precondition(lambda self: self.calls)
    @rule(pick=picks)
    def close(self, pick: int) -> None:
        call = self.shell.cluster.calls.get(self._call(pick))
        if call is not None:
            self.shell.step(events.CallEnded(call.id, len(call.known)))

    @precondition(lambda self: self.calls)
    @rule(pick=picks, terminate=st.booleans())
    def cancel(self, pick: int, terminate: bool) -> None:
        self.shell.step(events.CallCancelled(self._call(pick), "by its caller", terminate))

    @precondition(lambda self: self.calls)
    @rule(pick=picks)
    def forget(self, pick: int) -> None:
        self.shell.forgotten.add(self._call(pick))
        self.shell.step(events.CallForgotten(self._call(pick)))

    @precondition(lambda self: self.shell.starting)
    @rule(pick=picks)
    def ready(self, pick: int) -> None:
        starting = list(self.shell.starting)
        self.shell.ready(starting[pick % len(starting)])

    @precondition(lambda self: self.shell.alive)
    @rule(pick=picks, status=st.sampled_from(Status))
    def container_ends(self, pick: int, status: Status) -> None:
        alive = list(self.shell.alive)
        self.shell.end(alive[pick % len(alive)], status, "ref")

    @precondition(lambda self: self.shell.alive)
    @rule(pick=picks)
    def container_vanishes(self, pick: int) -> None:
        alive = list(self.shell.alive)
        self.shell.vanish(alive[pick % len(alive)])

    @rule()
    def nodes_answer(self) -> None:
        self.shell.answer()

    @precondition(lambda self: self.shell.running())
    @rule(pick=picks, most=st.integers(1, 4), statuses=st.lists(st.sampled_from(ENDS), min_size=4, max_size=4))
    def attempts_end(self, pick: int, most: int, statuses: list[Status]) -> None:
        running = self.shell.running()
        container, call, indexes = running[pick % len(running)]
        some = indexes[:most]
        self.shell.finish(container, call, some, statuses[: len(some)])

    @precondition(lambda self: self.shell.running())
    @rule(pick=picks, most=st.integers(1, 12))
    def given_back(self, pick: int, most: int) -> None:
        """A recall was answered, or a container that stops gives back what it has not begun."""
        running = self.shell.running()
        container, call, indexes = running[pick % len(running)]
        self.shell.give_back(container, call, indexes[-most:])

    @rule(statuses=st.lists(st.sampled_from((Status.OK, *ENDS)), min_size=4, max_size=4))
    def all_goes_on(self, statuses: list[Status]) -> None:
        """What starts becomes ready, what runs ends, what was told to go goes."""
        for container in list(self.shell.starting):
            self.shell.ready(container)
        for container, call, indexes in self.shell.running():
            if indexes[0] in self.shell.runs[container][call]:
                self.shell.finish(container, call, indexes[:1], [statuses[indexes[0] % 4]])
        for container in list(self.shell.stopping):
            self.shell.end(container, Status.OK)

    @precondition(lambda self: self.calls and self.shell.alive)
    @rule(pick=picks, index=st.integers(0, 12))
    def stale_result(self, pick: int, index: int) -> None:
        alive = list(self.shell.alive)
        container, call = alive[pick % len(alive)], self._call(pick)
        if index not in self.shell.runs[container][call]:
            self.shell.step(events.AttemptsEnded(container, call, (index,), (Status.OK,), (None,)))

    @rule(seconds=st.sampled_from((0.0, 0.01, 0.3, 2.0, 61.0)))
    def time_passes(self, seconds: float) -> None:
        self.shell.now += seconds
        self.shell.step(events.Tick())

    @invariant()
    def everyone_can_be_explained(self) -> None:
        for function in self.shell.cluster.functions:
            assert all(self.shell.cluster.explain(function))
            assert min(self.shell.cluster.stats(function).values()) >= 0

    def teardown(self) -> None:
        self.shell.step(events.NodeJoined("no-roomy", ROOMY))
        drain(self.shell)
        empty(self.shell)


Anything.TestCase.settings = settings(
    max_examples=int(os.environ.get("INRUSH_TEST_EXAMPLES", "60")),
    stateful_step_count=100,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestAnything = Anything.TestCase
