"""A world in virtual time: nodes and containers that do what effects say, and tell the core as real ones would.

One heap holds all that is going to happen. Time jumps from one entry to the next; a simulated hour costs what its
decisions cost. A dead node says nothing more: what was to come from its containers is dropped, and the core learns of
the death only when a broken link would have told it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush

from inrush.core import effects, events
from inrush.core.cluster import Cluster
from inrush.sim.chance import around, uniform
from inrush.sim.scenario import Loss, Scenario, Workload
from inrush.sim.tally import Tally
from inrush.wire import Gpu, Inventory, Status

STOP_S = 0.02
"""How long an idle container takes to end."""


@dataclass(slots=True)
class _Container:
    """A container as its node knows it."""

    id: str
    node: str
    workload: Workload
    gpus: int
    since: float
    busy_since: float = 0.0
    running: set[tuple[str, int]] = field(default_factory=set)


class World:
    """One scenario with one seed."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario, self.seed = scenario, seed
        self.cluster = Cluster(str(seed))
        self.tally = Tally()
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._wake_at = math.inf
        self._coming = 0
        self._containers: dict[str, _Container] = {}
        self._inventories: dict[str, Inventory] = {}
        self._workloads = {f"fn-{w.app}-{w.spec.name}": w for w in scenario.workloads}
        self._dead: set[str] = set()
        self._attempts = 0

    def run(self) -> None:
        """Let everything happen that is going to."""
        self._begin()
        while self._heap and (self._coming or self.tally.open) and self._heap[0][0] <= self.scenario.end_s:
            self.now, _, action = heappop(self._heap)
            action()
        for container in list(self._containers):
            self._gone(container)

    # ── what happens by itself ───────────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        for pool in self.scenario.pools:
            gpus = tuple(Gpu(type=pool.gpu_type, index=i, declared=True) for i in range(pool.gpus))
            for _ in range(pool.nodes):
                node = f"no-{len(self._inventories) + 1}"
                self._inventories[node] = Inventory(cpu=pool.cpu, memory_mib=pool.memory_mib, gpus=gpus)
                self._step(events.NodeJoined(node, self._inventories[node]))
        for function, workload in self._workloads.items():
            self._step(events.FunctionAdded(function, workload.app, workload.spec))
            for number, at in enumerate(workload.traffic.times(self.seed, function)):
                self._coming += 1
                self._at(at, partial(self._call, function, number))
        for number, loss in enumerate(self.scenario.losses):
            self._at(loss.at_s, partial(self._lose, number, loss))

    def _call(self, function: str, number: int) -> None:
        inputs = self._workloads[function].inputs
        call = f"ca-{function}-{number}"
        self._coming -= 1
        self.tally.arrived(self.now, call, inputs)
        self._step(events.CallArrived(call, function, "remote" if inputs == 1 else "map", inputs))
        self._step(events.InputsArrived(call, 0, inputs))

    def _lose(self, number: int, loss: Loss) -> None:
        """Nodes die, chosen by hashing; each once a loss."""
        ranked = sorted(self.cluster.nodes, key=lambda node: uniform(self.seed, "loss", number, node))
        for node in ranked[: loss.nodes]:
            self._dead.add(node)
            for container in [c.id for c in self._containers.values() if c.node == node]:
                self._gone(container)
            self._after(loss.noticed_s, partial(self._step, events.NodeLeft(node, "its link broke")))
            if loss.back_s is not None:
                self._after(max(loss.back_s, loss.noticed_s), partial(self._come_back, node))

    def _come_back(self, node: str) -> None:
        self._dead.discard(node)
        self._step(events.NodeJoined(node, self._inventories[node]))

    # ── what the core asks for ───────────────────────────────────────────────────────────────────────────────────────

    def _step(self, event: events.Event) -> None:
        out = self.cluster.step(event, self.now)
        self.tally.decided(self.now, out)
        for effect in out:
            self._do(effect)

    def _do(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Dispatch():
                self.tally.dispatched(self.now, effect.call, effect.indexes)
                self._after(self.scenario.link_s, partial(self._take, effect))
            case effects.Resolve():
                self.tally.resolved(effect)
            case effects.StartContainer():
                self._start(effect)
            case effects.StopContainer():
                self._after(STOP_S, partial(self._end, effect.container, Status.OK, "stopped"))
            case effects.WakeAt() if effect.at < self._wake_at:
                self._wake_at = effect.at
                self._at(effect.at, partial(self._wake, effect.at))

    def _wake(self, at: float) -> None:
        if at == self._wake_at:
            self._wake_at = math.inf
            self._step(events.Tick())

    def _start(self, effect: effects.StartContainer) -> None:
        workload = self._workloads[effect.function]
        self.tally.cold_starts += 1
        if effect.node in self._dead:
            return
        container = _Container(effect.container, effect.node, workload, len(effect.gpus), self.now)
        self._containers[container.id] = container
        start_s = around(workload.start_s, workload.start_spread, self.seed, "start", container.id)
        if uniform(self.seed, "start fails", container.id) < workload.start_fails:
            self._after(start_s, partial(self._end, container.id, Status.CRASHED, "the start crashed"))
        else:
            ready = events.ContainerReady(container.id, "sim", start_s * 1000)
            self._after(start_s, partial(self._tell, container.id, ready))

    def _take(self, effect: effects.Dispatch) -> None:
        """The inputs reach the container, if it is still there."""
        container = self._containers.get(effect.container)
        if container is None:
            return
        workload = container.workload
        if not container.running:
            container.busy_since = self.now
        for index in effect.indexes:
            container.running.add((effect.call, index))
            self._attempts += 1
            key = (effect.call, index, self._attempts)
            service_s = around(workload.service_s, workload.service_spread, self.seed, "service", *key)
            if uniform(self.seed, "crash", *key) < workload.input_crashes:
                self._after(service_s, partial(self._end, effect.container, Status.CRASHED, "an input crashed it"))
            else:
                self._after(service_s, partial(self._finish, effect.container, effect.call, index))

    def _finish(self, container_id: str, call: str, index: int) -> None:
        container = self._containers.get(container_id)
        if container is None or (call, index) not in container.running:
            return
        container.running.discard((call, index))
        if not container.running:
            self.tally.gpu_s_used += (self.now - container.busy_since) * container.gpus
        self._tell(container_id, events.AttemptsEnded(container_id, call, (index,), (int(Status.OK),), (None,)))

    def _end(self, container_id: str, status: Status, why: str) -> None:
        if self._gone(container_id):
            ended = events.ContainerEnded(container_id, int(status), why)
            self._after(self.scenario.link_s, partial(self._step, ended))

    # ── keeping the books ────────────────────────────────────────────────────────────────────────────────────────────

    def _gone(self, container_id: str) -> bool:
        """A container is no more; False when it was gone already."""
        container = self._containers.pop(container_id, None)
        if container is None:
            return False
        self.tally.gpu_s_paid += (self.now - container.since) * container.gpus
        if container.running:
            self.tally.gpu_s_used += (self.now - container.busy_since) * container.gpus
        return True

    def _tell(self, container_id: str, event: events.Event) -> None:
        """What a container says reaches the core a moment later, unless its node died."""
        if container_id in self._containers:
            self._after(self.scenario.link_s, partial(self._step, event))

    def _at(self, at: float, action: Callable[[], None]) -> None:
        self._serial += 1
        heappush(self._heap, (at, self._serial, action))

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._at(self.now + seconds, action)
