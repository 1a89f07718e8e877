"""What the scenarios that come along show, in virtual time: how soon, how full, how fair, and that nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import median

import msgspec
import pytest

from inrush.sim.fuzz import failure
from inrush.sim.report import WALL, Report
from inrush.sim.run import simulate, simulated
from inrush.sim.scenario import Scenario, load, names
from inrush.sim.traffic import Traffic
from inrush.sim.world import World

change = msgspec.structs.replace


def reached(world: World, curve: str, value: float) -> float:
    """When a curve was first as high as this."""
    curves = world.gauge.curves
    return next(at for at, seen in zip(curves["time_s"], curves[curve], strict=True) if seen >= value)


def test_all_scenarios_can_be_read_and_say_what_they_are_about() -> None:
    found = {name: load(name) for name in names()}
    assert {"big", "diurnal", "launch", "lost_nodes", "mixed", "spike", "stockout"} <= found.keys()
    assert all(len(scenario.about) > 20 for scenario in found.values())
    big = found["big"]
    assert sum(pool.nodes * pool.gpus for pool in big.pools) == 10_000
    assert big.faults


def test_five_thousand_containers_are_there_in_ten_seconds_where_nodes_are() -> None:
    world, _ = simulated(change(load("zero_to_5000"), end_s=11.0), 7)
    assert reached(world, "running", 5000) - 1.0 <= 10.0


def test_five_thousand_containers_are_there_in_two_minutes_where_nodes_take_ninety_seconds() -> None:
    world, report = simulated(change(load("zero_to_5000_nodes"), end_s=225.0), 7)
    assert reached(world, "running", 5000) - 100.0 <= 120.0
    assert report.gpus < 1.01 * 5001


def test_that_inputs_are_long_is_learned_while_the_first_one_runs_and_nodes_are_ordered_for_all() -> None:
    scenario = load("zero_to_5000_nodes")
    (score,) = scenario.workloads
    unknown = change(score, traffic=change(score.traffic, bursts=((0, 10_000),)))
    world, report = simulated(change(scenario, workloads=(unknown,), end_s=125.0), 7)
    assert reached(world, "running", 5000) <= 120.0
    assert report.gpus < 1.01 * 5001


def test_what_is_ordered_for_short_inputs_of_unknown_length_hardly_costs_more_than_their_work() -> None:
    scenario = load("zero_to_5000_nodes")
    (score,) = scenario.workloads
    unknown = change(score, service_s=3.0, traffic=change(score.traffic, bursts=((0, 10_000),)))
    report = simulate(change(scenario, workloads=(unknown,), end_s=300.0), 7)
    assert report.queue_ms["p99"] < 120_000
    assert report.gpu_s_there < 1.25 * report.gpu_s_used


def test_a_mixed_load_keeps_the_gpus_busy_while_work_waits() -> None:
    scenario = load("mixed")
    short = tuple(change(w, traffic=change(w.traffic, until_s=110.0)) for w in scenario.workloads)
    report = simulate(change(scenario, workloads=short, check_s=None), 7)
    assert report.gpu_busy_while_waiting >= 0.95
    assert report.calls_lost == 0


def test_a_chat_holds_its_p99_through_a_launch_beside_an_evaluation_on_all_gpus() -> None:
    """As `launch`, with fewer and longer samples, in a tenth of the time."""
    scenario = load("launch")
    chat, score = scenario.workloads
    chat = change(chat, traffic=Traffic(rates=((0, 8), (30, 400), (60, 8)), until_s=80))
    score = change(score, inputs=24_000, service_s=5.0)
    small = change(scenario, workloads=(chat, score), check_s=None)
    reports = [simulate(small, seed) for seed in (1, 2, 3)]
    # Each run is the same every time, but from seed to seed chance moves the p99 by 0.1 s: of 19 seeds three exceed it.
    assert median(report.functions["fn-chat-chat"]["queue_ms"]["p99"] for report in reports) <= 2000
    for report in reports:
        assert report.functions["fn-chat-chat"]["calls_failed"] == 0
        assert report.calls_lost == 0
        assert report.gpu_busy_while_waiting >= 0.95
        assert report.preemptions > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_launch_at_fifty_times_the_traffic_keeps_the_promise_of_a_chat_beside_a_million_samples() -> None:
    report = simulate("launch", 7)
    chat, score = report.functions["fn-chat-chat"], report.functions["fn-eval-score"]
    assert chat["slo_ms"] == 1000
    assert chat["slo_kept"], chat
    assert score["inputs"] == 1_000_000
    assert report.calls_lost == 0
    assert report.gpu_busy_while_waiting >= 0.95
    assert report.utilisation >= 0.95


def test_a_pool_without_nodes_is_passed_over_and_nodes_are_given_back() -> None:
    world, report = simulated("stockout", 7)
    assert report.calls_lost == 0
    given_back = [text for _, text in world.cluster.pools["dear"].told if text.startswith("gave back no-dear-")]
    assert given_back, "dear nodes came, and went first, for cheap ones are filled before"
    assert not [name for name in world.machines if name.startswith("no-dear")]
    nodes = world.gauge.curves["nodes"]
    assert nodes[-1] < max(nodes)
    assert report.cost > 0


@pytest.mark.parametrize("name", ["partitions", "slow_nodes"])
def test_nodes_that_fall_silent_or_are_slow_lose_no_call(name: str) -> None:
    report = simulate(load(name), 7)
    assert report.calls_lost == 0
    assert report.checks > 10


def test_a_seed_gives_the_same_decisions_whatever_the_hash_seed() -> None:
    program = (
        "import json; from inrush.sim.run import simulate; print(json.dumps(simulate('partitions', 11).as_dict()))"
    )
    reports = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True
        )
        told = json.loads(done.stdout)
        reports.append({name: value for name, value in told.items() if name not in WALL})
    assert reports[0] == reports[1]
    assert reports[0]["decisions"] > 1000


@pytest.mark.parametrize("seed", range(6))
def test_worlds_full_of_trouble_stay_sound_and_everything_in_them_ends(seed: int) -> None:
    assert failure(seed) == ""


def test_a_world_that_cannot_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(seed: int) -> Scenario:
        return change(load("partitions"), pools=(), end_s=30.0)

    monkeypatch.setattr("inrush.sim.fuzz.scenario", nowhere)
    assert "have not ended" in failure(1)


def test_a_report_says_what_it_has_to() -> None:
    report: Report = simulate(change(load("partitions"), end_s=20.0), 7)
    told = report.as_dict()
    assert told.keys() >= {
        *("seed", "decisions_digest", "gpus", "calls", "calls_lost", "queue_ms", "cold_starts", "gpu_s_used"),
        *("gpu_s_paid", "gpu_busy_while_waiting", "wall_s", "fairness", "preemptions", "decision_us", "utilisation"),
    }
    assert told["queue_ms"].keys() == {"p50", "p95", "p99"}
    assert 0 < told["gpu_s_used"] <= told["gpu_s_paid"] <= told["gpu_s_there"]
