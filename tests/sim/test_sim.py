"""The simulator: chance that repeats, traffic with the asked-for rates, and scenarios in which nothing is lost."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest

from inrush.errors import InvalidError
from inrush.sim.chance import around, exponential, uniform
from inrush.sim.run import simulate
from inrush.sim.scenario import Loss, Pool, Scenario, Traffic, Workload, load, names
from inrush.sim.tally import percentile
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


def test_even_traffic_comes_at_the_rates_it_was_given() -> None:
    traffic = Traffic(rates=((0, 1), (10, 100), (12, 0), (20, 1)), until_s=25, poisson=False)
    times = list(traffic.times(7, "f"))
    assert times == sorted(times)
    counts = [sum(a <= at < b for at in times) for a, b in ((0, 10), (10, 12), (12, 20), (20, 25))]
    assert [math.isclose(c, n, abs_tol=1) for c, n in zip(counts, (10, 200, 0, 5), strict=True)] == [True] * 4


def test_poisson_traffic_has_the_mean_and_the_spread_of_independent_calls() -> None:
    times = list(Traffic(rates=((0, 50),), until_s=100).times(7, "f"))
    counts = [sum(second <= at < second + 1 for at in times) for second in range(100)]
    mean = sum(counts) / 100
    variance = sum((count - mean) ** 2 for count in counts) / 100
    assert abs(mean - 50) < 3
    assert 30 < variance < 75


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert [percentile([1.0, 2.0, 3.0, 4.0], p) for p in (0, 50, 51, 100)] == [1.0, 2.0, 3.0, 4.0]
    assert percentile([], 50) == 0.0


def test_the_same_seed_gives_the_same_report_and_another_seed_another() -> None:
    first, again, other = (simulate(small(), seed).as_dict() for seed in (7, 7, 8))
    for report in (first, again, other):
        assert report.pop("wall_s") >= 0
    assert first == again
    assert first["decisions_digest"] != other["decisions_digest"]


def test_a_quiet_world_answers_warm_and_loses_nothing() -> None:
    world = World(small(), 7)
    world.run()
    assert world.cluster.violations() == []
    report = world.tally.report("small", 7, world.now, 0.0)
    assert report.calls > 300
    assert report.calls_lost == 0
    assert report.queue_ms["p50"] == 0.0
    assert 0 < report.cold_starts < 30


def test_dead_nodes_starts_and_inputs_that_crash_lose_no_call() -> None:
    workload = small().workloads[0]
    spec = msgspec.structs.replace(workload.spec, retries=msgspec.structs.replace(workload.spec.retries, max_retries=5))
    shaky = msgspec.structs.replace(workload, spec=spec, start_fails=0.1, input_crashes=0.01)
    report = simulate(
        small(workloads=(shaky,), losses=(Loss(at_s=5, nodes=1, back_s=8), Loss(at_s=12, nodes=2, back_s=7))), 7
    )
    assert report.calls_lost == 0
    assert report.queue_ms["p99"] > 1000


def test_a_crash_without_retries_is_reported_as_a_lost_call() -> None:
    crashing = msgspec.structs.replace(small().workloads[0], input_crashes=0.2)
    assert simulate(small(workloads=(crashing,)), 7).calls_lost > 0


def test_calls_that_cannot_run_are_reported_as_lost_when_the_world_ends() -> None:
    report = simulate(small(pools=(), end_s=30.0), 7)
    assert report.calls_lost == report.calls > 0


def test_the_scenarios_that_come_along_lose_no_call() -> None:
    assert names() == ["lost_nodes", "spike"]
    report = simulate("lost_nodes", 7)
    assert report.calls_lost == 0
    assert report.gpu_s_used <= report.gpu_s_paid
    spike = load("spike")
    quick = msgspec.structs.replace(
        spike,
        workloads=(
            msgspec.structs.replace(
                spike.workloads[0], traffic=Traffic(rates=((0, 20), (5, 200), (10, 20)), until_s=15)
            ),
        ),
    )
    assert simulate(quick, 7).calls_lost == 0


def test_a_scenario_that_does_not_exist_or_is_not_well_formed_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="there are lost_nodes, spike"):
        load("storm")
    path = tmp_path / "bad.toml"
    path.write_text('about = "x"\npools = [{ nodes = 1, colour = "red" }]\nworkloads = []\n')
    with pytest.raises(InvalidError, match="colour"):
        load(str(path))
