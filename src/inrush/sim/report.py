"""The report of a simulation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from inrush.sim.tally import FunctionTally, percentile

if TYPE_CHECKING:
    from inrush.sim.world import World

WALL = ("wall_s", "decision_us")
"""Fields that depend on the machine. Scenario and seed alone determine all others."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a simulation."""

    scenario: str
    seed: int
    decisions_digest: str
    """A digest of every effect of every step with its time. It is equal for two runs exactly when they decided
    alike."""
    decisions: int
    steps: int
    checks: int
    """How often the core's whole state was checked against its invariants."""
    gpus: int
    """The most GPUs at once."""
    nodes: int
    """The most nodes at once."""
    calls: int
    inputs: int
    calls_lost: int
    """Calls of which some input failed or did not end."""
    calls_open: int
    """Lost calls that had not ended when the simulation did."""
    queue_ms: dict[str, float]
    """p50, p95 and p99 of the time from an input's arrival until it first begins."""
    functions: dict[str, dict[str, Any]]
    """For each function: calls, inputs, losses and queue_ms, and where its workload has an `slo_ms`, that and
    `slo_kept`."""
    cold_starts: int
    gpu_s_used: float
    """GPU seconds in which the container that held them ran an input."""
    gpu_s_paid: float
    """GPU seconds for which a container held them."""
    gpu_s_there: float
    """GPU seconds of all nodes."""
    cost: float
    """The cost of all nodes at the prices of their pools."""
    utilisation: float
    """The part of the paid GPU seconds that was used."""
    gpu_busy_while_waiting: float
    """While some function waited for a place: the part of the GPUs it could use that ran inputs or starts."""
    fairness: float
    """Jain's index over apps that wait, on average."""
    preemptions: int
    """Containers that were stopped while they ran something."""
    virtual_s: float
    decision_us: dict[str, float]
    """p50, p95, p99 and the maximum of the time that a step of the core took, over a sample of steps."""
    wall_s: float

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]


def report(world: World, name: str, wall_s: float) -> Report:
    """The report of a world that has run."""
    tally, gauge = world.tally, world.gauge
    steps = sorted(tally.step_s)
    return Report(
        scenario=name,
        seed=world.seed,
        decisions_digest=tally.digest,
        decisions=tally.decisions,
        steps=tally.steps,
        checks=tally.checks,
        gpus=gauge.gpus_most,
        nodes=gauge.nodes_most,
        calls=tally.calls,
        inputs=sum(function.inputs for function in tally.functions.values()),
        calls_lost=tally.calls_lost,
        calls_open=tally.open,
        queue_ms=queue_ms(wait for function in tally.functions.values() for wait in function.waited_s),
        functions={
            name: _of_function(function, world.workloads[name].slo_ms) for name, function in tally.functions.items()
        },
        cold_starts=tally.cold_starts,
        gpu_s_used=round(tally.gpu_s_used, 3),
        gpu_s_paid=round(tally.gpu_s_paid, 3),
        gpu_s_there=round(gauge.gpu_s_there, 3),
        cost=round(gauge.cost, 4),
        utilisation=round(tally.gpu_s_used / tally.gpu_s_paid, 4) if tally.gpu_s_paid else 1.0,
        gpu_busy_while_waiting=round(gauge.busy_while_waiting, 4),
        fairness=round(gauge.fairness, 4),
        preemptions=tally.preemptions,
        virtual_s=round(world.now, 3),
        decision_us={
            **{f"p{p}": round(percentile(steps, p) * 1e6, 1) for p in (50, 95, 99)},
            "most": round(percentile(steps, 100) * 1e6, 1),
        },
        wall_s=round(wall_s, 3),
    )


def _of_function(function: FunctionTally, slo_ms: float | None) -> dict[str, Any]:
    waited = queue_ms(function.waited_s)
    told = {
        "calls": function.calls,
        "inputs": function.inputs,
        "calls_failed": function.failed,
        "queue_ms": waited,
    }
    return told if slo_ms is None else {**told, "slo_ms": slo_ms, "slo_kept": waited["p99"] <= slo_ms}


def queue_ms(waited_s: Iterable[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds."""
    ascending = sorted(waited_s)
    return {f"p{p}": round(percentile(ascending, p) * 1000, 3) for p in (50, 95, 99)}
