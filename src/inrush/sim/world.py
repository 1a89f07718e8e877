"""A world in virtual time: nodes and containers that do what effects say, and tell the core as real ones would.

Time jumps from one thing that happens to the next (`agenda`), so a simulated hour costs what its decisions cost.
Messages between server and nodes take `link_s` each way: an input that is dispatched now and runs for a second is heard
of in 1 s + 2 `link_s`, which is one entry. A dead node says nothing more: what was to come from its containers is
dropped, and the core learns of the death only when a broken link would have told it (`faults`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from time import perf_counter
from typing import Any, Protocol

from inrush.core.cluster import Cluster
from inrush.core.model import effects, events
from inrush.core.model.measured import slots_of
from inrush.core.model.tuning import TUNING, Tuning
from inrush.pools.simulated import SimulatedPool
from inrush.sim import faults
from inrush.sim.agenda import Agenda
from inrush.sim.chance import around, uniform
from inrush.sim.computing import Computing
from inrush.sim.gauge import Gauge
from inrush.sim.machines import Machine, Running
from inrush.sim.processors import Processors
from inrush.sim.scenario import Pool, Scenario
from inrush.sim.tally import Tally, Unsound
from inrush.sim.traffic import Arrival
from inrush.wire import Status

OK = int(Status.OK)

STOP_S = 0.02
"""Seconds that an idle container takes to end."""

TIMED_STEPS = 16
"""One of so many steps is timed."""


class Director(Protocol):
    """Sets the number of containers in place of the core's own policy, by stepping `events.ScaleOverridden` with
    `min_containers` and `max_containers` alike."""

    def begin(self, world: World) -> None:
        """Called when all functions are known and no call has come; `world.after` can make it tick."""

    def arrived(self, world: World, function: str) -> None:
        """Called after a call has come and was stepped."""


class World(Agenda):
    """One scenario with one seed. `arrivals` replace the traffic of these functions."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        *,
        tuning: Tuning = TUNING,
        director: Director | None = None,
        arrivals: Mapping[str, Iterable[Arrival]] | None = None,
    ) -> None:
        super().__init__()
        self.scenario, self.seed = scenario, seed
        self.cluster = Cluster(str(seed), tuning)
        self.workloads = {workload.function: workload for workload in scenario.workloads}
        self.tally = Tally()
        self.gauge = Gauge(self)
        self._computing = Computing(self, self.tell)
        self.machines: dict[str, Machine] = {}
        self.containers: dict[str, Running] = {}
        self._director = director
        self._given = arrivals or {}
        self._wake_at = math.inf
        self._streams = 0
        self._attempts = 0
        self._starts = dict.fromkeys(self.workloads, 0)
        self._calls: dict[str, float | None] = {}
        self._pools: dict[str, SimulatedPool] = {}
        self._apply: dict[type, Callable[[Any], None]] = {
            effects.Dispatch: self._dispatch,
            effects.Resolve: self._resolve,
            effects.StartContainer: self._start,
            effects.StopContainer: self._stop,
            effects.CancelRun: self._cancel,
            effects.Recall: self._recall,
            effects.ListContainers: self._list,
            effects.WakeAt: self._wake_by,
            effects.NodesWanted: lambda effect: self._pools[effect.pool].order(effect.count),
            effects.NodesReleased: self._released,
        }

    def run(self) -> None:
        """Runs until everything has happened. Raises `Unsound` when the core contradicts itself."""
        self._begin()
        while (self._streams or self.tally.open) and self.next_at <= self.scenario.end_s:
            self.go_on()
        self.check()
        for container in list(self.containers.values()):
            self.gone(container)
        self.gauge.finish()

    def step(self, event: events.Event) -> None:
        """Steps the core once, and does what it asks for."""
        tally = self.tally
        tally.steps += 1
        if tally.steps % TIMED_STEPS:
            out = self.cluster.step(event, self.now)
        else:
            began = perf_counter()
            out = self.cluster.step(event, self.now)
            tally.step_s.append(perf_counter() - began)
        if out:
            tally.decided(self.now, out)
            apply = self._apply
            for effect in out:
                act = apply.get(type(effect))
                if act is not None:
                    act(effect)
        if self.scenario.check_s == 0:
            self.check()

    def price(self, pool: str) -> float:
        """The price of a node of the pool for an hour."""
        return self._pools[pool].offer.price

    def check(self) -> None:
        """Checks the core's state against its invariants."""
        self.tally.checks += 1
        if violations := self.cluster.violations():
            raise Unsound(f"at {self.now:.6f} s: {'; '.join(violations[:5])}")

    # ── what happens by itself ───────────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        for number, pool in enumerate(self.scenario.pools):
            self._pool(pool, pool.name or f"pool{number + 1}")
        for function, workload in self.workloads.items():
            self.step(events.FunctionAdded(function, workload.app, workload.spec))
            given = self._given.get(function)
            stream = workload.traffic.arrivals(self.seed, function) if given is None else iter(given)
            self._streams += 1
            self._next(function, stream, 0)
        for override in self.scenario.overrides:
            self.at(override.at_s, self.step, override.event())
        for fault in self.scenario.faults:
            faults.plan(self, fault)
        self.after(self.scenario.sample_s, self._sample)
        if self.scenario.check_s:
            self.after(self.scenario.check_s, self._check)
        if self._director is not None:
            self._director.begin(self)

    def _pool(self, pool: Pool, name: str) -> None:
        offer = pool.offer(name)
        self._pools[name] = SimulatedPool(
            offer,
            self.step,
            lambda seconds, action: self.after(seconds, action),
            boot=lambda node: self.boot(Machine(node, name, offer.inventory)),
            node_s=lambda node: around(pool.node_s, pool.node_spread, self.seed, "node", node),
            stocked_out=lambda: pool.stocked_out(self.now),
        )
        self.step(offer.event())
        for _ in range(pool.nodes):
            self._pools[name].boot()

    def boot(self, machine: Machine) -> None:
        """Has a node join."""
        self.machines[machine.id] = machine
        self.gauge.node(machine, 1)
        computes = any(workload.computes for workload in self.scenario.workloads)
        machine.processors = Processors(self, machine.inventory.cpu) if computes else None
        self.step(events.NodeJoined(machine.id, machine.inventory, pool=machine.pool))
        if computes:
            self.step(events.CpuUsed(machine.id))

    def _next(self, function: str, stream: Iterator[Arrival], number: int) -> None:
        arrival = next(stream, None)
        if arrival is None:
            self._streams -= 1
        else:
            self.at(arrival.at, self._call, function, stream, number, arrival.service_s)

    def _call(self, function: str, stream: Iterator[Arrival], number: int, service_s: float | None) -> None:
        inputs = self.workloads[function].inputs
        call = f"ca-{function}-{number}"
        self._calls[call] = service_s
        self.tally.arrived(self.now, function, call, inputs)
        self.step(events.CallArrived(call, function, "remote" if inputs == 1 else "map", inputs))
        self.step(events.InputsArrived(call, 0, inputs))
        if self._director is not None:
            self._director.arrived(self, function)
        self._next(function, stream, number + 1)

    def _sample(self) -> None:
        self.gauge.sample()
        self.after(self.scenario.sample_s, self._sample)

    def _check(self) -> None:
        self.check()
        self.after(self.scenario.check_s or math.inf, self._check)

    # ── what the core asks for ───────────────────────────────────────────────────────────────────────────────────────

    def _wake_by(self, effect: effects.WakeAt) -> None:
        if effect.at < self._wake_at:
            self._wake_at = effect.at
            self.at(effect.at, self._wake, effect.at)

    def _wake(self, at: float) -> None:
        if at == self._wake_at:
            self._wake_at = math.inf
            self.step(events.Tick())

    def _resolve(self, effect: effects.Resolve) -> None:
        if self.tally.resolved(effect):
            del self._calls[effect.call]

    def _released(self, effect: effects.NodesReleased) -> None:
        self._pools[effect.pool].release(effect.nodes)
        for node in effect.nodes:
            machine = self.machines.pop(node)
            if not machine.dead:
                self.gauge.node(machine, -1)

    def _start(self, effect: effects.StartContainer) -> None:
        workload = self.workloads[effect.function]
        self.tally.cold_starts += 1
        machine = self.machines[effect.node]
        if machine.dead or machine.forgetful:
            return
        if machine.silent:
            machine.unheard.append((self._start, effect))
            return
        slots = slots_of(workload.spec.scale)
        gpus = len(effect.gpus) * effect.gpu_share
        running = Running(effect.container, machine, workload, slots, gpus, effect.gpu_type, self.now)
        self.containers[running.id] = machine.containers[running.id] = running
        self.gauge.held(running, 1)
        self._starts[effect.function] += 1
        # Its number names its draws: by its id, these would be others whenever the core makes its ids in another way.
        start = f"{effect.function}:{self._starts[effect.function]}"
        start_s = around(workload.start_s, workload.start_spread, self.seed, "start", start) * machine.slowness
        link_s = 2 * self.scenario.link_s
        if workload.start_fails and uniform(self.seed, "start fails", start) < workload.start_fails:
            self.after(start_s + link_s, self._end, running.id, Status.CRASHED, "the start crashed")
        else:
            running.start_cpu_s = start_s * workload.start_cpu
            self._computing.spend(running, start_s, running.start_cpu_s, link_s, self._ready, running.id, start_s)

    def _list(self, effect: effects.ListContainers) -> None:
        """Has a node say which containers it has, which reaches the core as late as any report."""
        machine = self.machines[effect.node]
        if machine.silent:
            machine.unheard.append((self._list, effect))
        else:
            self.after(2 * self.scenario.link_s, self._listed, machine, effect.number)

    def _listed(self, machine: Machine, number: int) -> None:
        if not machine.dead:
            self.tell(machine, events.NodeContainers(machine.id, number, tuple(machine.containers)))

    def _ready(self, container_id: str, start_s: float) -> None:
        if (running := self.containers.get(container_id)) is not None:
            running.ready = True
            self.gauge.ready(running)
            self.tell(running.machine, events.ContainerReady(container_id, "sim", start_s * 1000))

    def _stop(self, effect: effects.StopContainer) -> None:
        """Stops a container: what runs may end within the grace, and what has not begun is given back."""
        running, grace_s = self.containers.get(effect.container), 0.0
        if running is not None and running.inputs:
            self.tally.preemptions += 1
            if not effect.kill:
                running.leaving, grace_s = True, effect.grace_s
                self._give_back(running.id)
        self.after(grace_s + STOP_S, self._end, effect.container, Status.OK, "stopped")

    def _cancel(self, effect: effects.CancelRun) -> None:
        self.after(STOP_S, self._cancelled, effect)

    def _cancelled(self, effect: effects.CancelRun) -> None:
        running = self.containers.get(effect.container)
        if running is None:
            return
        for key in [(effect.call, index) for index in effect.indexes]:
            if key in running.inputs or key in running.ahead:
                if key in running.ahead:
                    running.ahead.remove(key)
                self._ended(running, key, int(Status.CANCELLED), 0.0)

    def _recall(self, effect: effects.Recall) -> None:
        self.after(2 * self.scenario.link_s, self._give_back, effect.container)

    def _give_back(self, container_id: str) -> None:
        running = self.containers.get(container_id)
        if running is None:
            return
        back: dict[str, list[int]] = {}
        for call, index in running.ahead:
            back.setdefault(call, []).append(index)
        running.ahead.clear()
        for call, indexes in back.items():
            self.tell(running.machine, events.InputsReturned(container_id, call, tuple(indexes)))

    def _dispatch(self, effect: effects.Dispatch) -> None:
        running = self.containers.get(effect.container)
        if running is None:
            return
        if running.machine.silent:
            running.machine.unheard.append((self._take, running, effect))
        else:
            self._take(running, effect)

    def _take(self, running: Running, effect: effects.Dispatch) -> None:
        """Brings inputs to a container. It begins as many as it has slots for, and the others wait there."""
        for index in effect.indexes:
            if len(running.inputs) < running.slots:
                self._begin_input(running, effect.call, index, 2 * self.scenario.link_s)
            else:
                running.ahead.append((effect.call, index))

    def _begin_input(self, running: Running, call: str, index: int, link_s: float) -> None:
        workload, seed = running.workload, self.seed
        if not running.inputs:
            running.busy_since = self.now
            self.gauge.busy(running, 1)
        key = (call, index)
        running.inputs.add(key)
        self.tally.began(self.now, call, index)
        self._attempts += 1
        spent_s = self._calls.get(call)
        if spent_s is None:
            spent_s = around(workload.service_s, workload.service_spread, seed, f"{call}:{index}:{self._attempts}")
        spent_s *= running.machine.slowness
        if workload.input_crashes and uniform(seed, f"crash:{self._attempts}") < workload.input_crashes:
            self.after(spent_s + link_s, self._end, running.id, Status.CRASHED, "an input crashed it")
        else:
            warm_s, running.warm = 0.0 if running.warm else workload.warm_s, True
            cpu_s, spent_s = warm_s + spent_s * workload.service_cpu, warm_s + spent_s
            began = self.now + link_s if running.machine.processors else None
            self._computing.spend(running, spent_s, cpu_s, link_s, self._finish, running, key, spent_s, began)

    def _finish(self, running: Running, key: tuple[str, int], spent_s: float, began: float | None) -> None:
        if key in running.inputs:
            self._ended(running, key, OK, spent_s if began is None else self.now - began)

    def _ended(self, running: Running, key: tuple[str, int], status: int, spent_s: float) -> None:
        running.inputs.discard(key)
        if running.ahead and len(running.inputs) < running.slots:
            if not running.inputs:
                self._idle(running)
            self._begin_input(running, *running.ahead.popleft(), 0.0)
        elif not running.inputs:
            self._idle(running)
            if running.leaving:
                self.after(STOP_S, self._end, running.id, Status.OK, "stopped")
        call, index = key
        self.tell(running.machine, events.AttemptsEnded(running.id, call, (index,), (status,), (None,), spent_s))

    def _end(self, container_id: str, status: Status, why: str) -> None:
        running = self.containers.get(container_id)
        if running is None:
            return
        if running.machine.silent and status == Status.OK:
            running.machine.unheard.append((self._end, container_id, status, why))
            return
        self.gone(running)
        if not running.machine.forgetful:
            self.tell(running.machine, events.ContainerEnded(container_id, int(status), why))

    # ── keeping the books ────────────────────────────────────────────────────────────────────────────────────────────

    def tell(self, machine: Machine, event: events.Event) -> None:
        """Has the core hear of what a node reports, at once or when its link is back."""
        if machine.silent:
            machine.unsaid.append(event)
        else:
            self.step(event)

    def gone(self, running: Running) -> None:
        """Ends a container."""
        del self.containers[running.id], running.machine.containers[running.id]
        if running.inputs:
            self._idle(running)
            running.inputs.clear()
        running.ahead.clear()
        if running.machine.processors is not None:
            running.machine.processors.drop(running.id)
        self.gauge.held(running, -1)
        self.tally.gpu_s_paid += (self.now - running.since) * running.gpus

    def _idle(self, running: Running) -> None:
        self.gauge.busy(running, -1)
        self.tally.gpu_s_used += (self.now - running.busy_since) * running.gpus
