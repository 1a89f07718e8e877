"""What a simulation is measured by while it runs: GPUs that exist, are held and are busy, queues, and who holds how
much. Counts change as things happen, and are read once every `sample_s` for the curves of the report."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sized
from typing import Protocol

from inrush.core.model.functions import Function
from inrush.core.model.wanted import accepts
from inrush.sim.machines import Machine, Running
from inrush.sim.tally import Tally, percentile

CURVES = ("time_s", "queued", "running", "containers", "nodes", "gpus", "gpus_held", "gpus_busy")


class Functions(Protocol):
    """What a gauge reads of a cluster."""

    @property
    def functions(self) -> Mapping[str, Function]:
        """All functions by id."""

    def share(self, function_id: str) -> float:
        """The part of the cluster that the containers of a function hold."""


class Gauged(Protocol):
    """What a gauge reads of a world."""

    @property
    def now(self) -> float:
        """Virtual time in seconds."""

    @property
    def cluster(self) -> Functions:
        """The core."""

    @property
    def containers(self) -> Sized:
        """Containers that there are, whatever the core believes."""

    @property
    def tally(self) -> Tally:
        """What became of inputs."""

    def price(self, pool: str) -> float:
        """The price of a node of the pool, for an hour."""


class Gauge:
    """Reads a world as it runs, and keeps the curves of the report."""

    def __init__(self, world: Gauged) -> None:
        self._world = world
        self.curves: dict[str, array[float]] = {name: array("d") for name in CURVES}
        self.queues: dict[str, array[float]] = {}
        """Waiting inputs by function."""
        self.waits_s: dict[str, array[float]] = {}
        """For each function: the 99th percentile of the queue delay of inputs that began since the last sample."""
        self._begun: dict[str, int] = {}
        self.gpu_s_there = 0.0
        """GPU seconds of all nodes, whatever they did."""
        self.cost = 0.0
        """The cost of all nodes, by their price per hour."""
        self.gpus_most = 0
        self.nodes_most = 0
        self._nodes = 0
        self._there: dict[str, float] = {}
        self._held: dict[str, float] = {}
        self._busy: dict[str, float] = {}
        self._idle: dict[str, float] = {}
        self._price = 0.0
        self._seen_at = 0.0
        self._busy_while_waiting = [0.0, 0.0]
        self._fair = [0.0, 0.0]

    @property
    def busy_while_waiting(self) -> float:
        """While some function waits for a place: the part of the GPUs it could use on which containers start or run
        inputs. 1 when none ever waited."""
        busy, there = self._busy_while_waiting
        return busy / there if there else 1.0

    @property
    def fairness(self) -> float:
        """Jain's index of the shares that waiting apps of one priority hold, on average: 1 when all hold the same, 1/n
        when one holds everything."""
        total, count = self._fair
        return total / count if count else 1.0

    # ── as things change ─────────────────────────────────────────────────────────────────────────────────────────────

    def node(self, machine: Machine, sign: int) -> None:
        """Counts a node that came (1) or went (-1)."""
        self._integrate()
        self._nodes += sign
        self._price += sign * self._world.price(machine.pool)
        for gpu in machine.inventory.gpus:
            _add(self._there, gpu.type, sign)
        self.nodes_most = max(self.nodes_most, self._nodes)
        self.gpus_most = max(self.gpus_most, int(sum(self._there.values())))

    def held(self, running: Running, sign: int) -> None:
        """Counts a container that came (1) or went (-1). One that goes runs nothing."""
        if running.gpus:
            _add(self._held, running.gpu_type, sign * running.gpus)
            if sign < 0 and running.ready:
                _add(self._idle, running.gpu_type, -running.gpus)

    def ready(self, running: Running) -> None:
        """Counts a container that may run inputs and runs none yet."""
        if running.gpus:
            _add(self._idle, running.gpu_type, running.gpus)

    def busy(self, running: Running, sign: int) -> None:
        """Counts a container that began to run inputs (1) or runs none any more (-1)."""
        if running.gpus:
            _add(self._busy, running.gpu_type, sign * running.gpus)
            _add(self._idle, running.gpu_type, -sign * running.gpus)

    def finish(self) -> None:
        """Adds up what is left at the end."""
        self._integrate()

    def _integrate(self) -> None:
        passed_s = self._world.now - self._seen_at
        self._seen_at = self._world.now
        self.gpu_s_there += passed_s * sum(self._there.values())
        self.cost += passed_s * self._price / 3600

    # ── now and then ─────────────────────────────────────────────────────────────────────────────────────────────────

    def sample(self) -> None:
        """Reads all counts for the curves."""
        functions = list(self._world.cluster.functions.values())
        self._note_waiting([f for f in functions if f.queued and f.wanted > f.live])
        row = (
            self._world.now,
            sum(function.queued for function in functions),
            sum(function.running for function in functions),
            len(self._world.containers),
            self._nodes,
            sum(self._there.values()),
            sum(self._held.values()),
            sum(self._busy.values()),
        )
        for curve, value in zip(self.curves.values(), row, strict=True):
            curve.append(value)
        for function in functions:
            self.queues.setdefault(function.id, array("d")).append(function.queued)
            self.waits_s.setdefault(function.id, array("d")).append(self._wait_s(function.id))

    def _wait_s(self, function: str) -> float:
        tally = self._world.tally.functions.get(function)
        if tally is None:
            return 0.0
        begun, self._begun[function] = self._begun.get(function, 0), len(tally.waited_s)
        return percentile(sorted(tally.waited_s[begun:]), 99)

    def _note_waiting(self, waiting: list[Function]) -> None:
        requests = [request for function in waiting for request in function.spec.resources.gpu]
        for kind, there in self._there.items():
            if any(accepts(request, kind) for request in requests):
                self._busy_while_waiting[0] += self._held.get(kind, 0.0) - self._idle.get(kind, 0.0)
                self._busy_while_waiting[1] += there
        by_priority: dict[int, dict[str, float]] = {}
        for function in waiting:
            apps = by_priority.setdefault(function.spec.priority, {})
            apps[function.app] = apps.get(function.app, 0.0) + self._world.cluster.share(function.id)
        for apps in by_priority.values():
            if len(apps) > 1:
                self._fair[0] += jain(list(apps.values()))
                self._fair[1] += 1


def jain(shares: list[float]) -> float:
    """Jain, Chiu and Hawe 1984: (Σx)² / (n · Σx²)."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def _add(counts: dict[str, float], kind: str, amount: float) -> None:
    counts[kind] = counts.get(kind, 0.0) + amount
