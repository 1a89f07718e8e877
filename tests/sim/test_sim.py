"""The simulator: reproducible random numbers, traffic at the requested rates, and scenarios in which no call is
lost."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from inrush.core.cluster import Cluster
from inrush.core.model.tuning import TUNING
from inrush.errors import InvalidError
from inrush.sim.chance import around, exponential, uniform
from inrush.sim.report import report
from inrush.sim.run import simulate
from inrush.sim.scenario import Fault, Pool, Scenario, Workload, load
from inrush.sim.tally import percentile
from inrush.sim.traffic import Traffic
from inrush.sim.world import World
from inrush.wire import FunctionSpec, ScalePolicy


def small(**changes: object) -> Scenario:
    """Two nodes, one function, twenty seconds."""
    workload = Workload(
        spec=FunctionSpec(name="f", scale=ScalePolicy(max_inputs=2)),
        traffic=Traffic(rates=((0, 20),), until_s=20),
    )
    scenario = Scenario(about="small", pools=(Pool(nodes=2, cpu=4),), workloads=(workload,))
    return msgspec.structs.replace(scenario, **changes)


def test_chance_repeats_is_uniform_and_has_the_asked_for_mean() -> None:
    draws = [uniform(7, "x", number) for number in range(4000)]
    assert draws == [uniform(7, "x", number) for number in range(4000)]
    assert draws != [uniform(8, "x", number) for number in range(4000)]
    assert all(0 <= draw < 1 for draw in draws)
    assert abs(sum(draws) / 4000 - 0.5) < 0.02
    assert abs(sum(exponential(7, number) for number in range(4000)) / 4000 - 1) < 0.05
    assert abs(sum(around(3.0, 0.5, 7, number) for number in range(4000)) / 4000 - 3) < 0.1
    assert around(3.0, 0.0, 7) == 3.0


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert [percentile([1.0, 2.0, 3.0, 4.0], p) for p in (0, 50, 51, 100)] == [1.0, 2.0, 3.0, 4.0]
    assert percentile([], 50) == 0.0


def test_the_same_seed_gives_the_same_decisions_and_another_seed_others() -> None:
    first, again, other = (simulate(small(), seed) for seed in (7, 7, 8))
    assert first.decisions_digest == again.decisions_digest != other.decisions_digest
    assert first.queue_ms == again.queue_ms


def test_ids_that_the_core_makes_change_no_draw() -> None:
    worlds = [World(small(), 7) for _ in range(2)]
    worlds[1].cluster = Cluster("other ids", TUNING)
    for world in worlds:
        world.run()
    first, second = (report(world, "small", 0.0) for world in worlds)
    assert first.decisions_digest != second.decisions_digest
    assert first.cold_starts > 0
    assert (first.queue_ms, first.gpu_s_paid, first.cold_starts) == (
        second.queue_ms,
        second.gpu_s_paid,
        second.cold_starts,
    )


def test_nodes_that_die_lose_no_call() -> None:
    report = simulate("lost_nodes", 7)
    assert report.calls_lost == 0
    assert report.gpu_s_used <= report.gpu_s_paid


def test_dead_nodes_starts_and_inputs_that_crash_lose_no_call() -> None:
    workload = small().workloads[0]
    spec = msgspec.structs.replace(workload.spec, retries=msgspec.structs.replace(workload.spec.retries, max_retries=5))
    shaky = msgspec.structs.replace(workload, spec=spec, start_fails=0.1, input_crashes=0.01)
    report = simulate(
        small(
            workloads=(shaky,),
            faults=(Fault(kind="loss", at_s=5, nodes=1, for_s=8), Fault(kind="loss", at_s=12, nodes=2, for_s=7)),
        ),
        7,
    )
    assert report.calls_lost == 0
    assert report.queue_ms["p99"] > 1000


def test_a_crash_without_retries_is_reported_as_a_lost_call() -> None:
    crashing = msgspec.structs.replace(small().workloads[0], input_crashes=0.2)
    assert simulate(small(workloads=(crashing,)), 7).calls_lost > 0


def test_calls_that_cannot_run_are_reported_as_lost_when_the_world_ends() -> None:
    report = simulate(small(pools=(), end_s=30.0), 7)
    assert report.calls_lost == report.calls > 0


def test_a_scenario_that_does_not_exist_or_is_not_well_formed_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="lost_nodes"):
        load("storm")
    path = tmp_path / "bad.toml"
    path.write_text('about = "x"\npools = [{ nodes = 1, colour = "red" }]\nworkloads = []\n')
    with pytest.raises(InvalidError, match="colour"):
        load(str(path))
