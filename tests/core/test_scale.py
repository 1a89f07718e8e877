"""How many containers a function gets: the bounds hold for every load, and the policy is as documented."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inrush.core.model.measured import Measured, Memo
from inrush.core.model.tuning import TUNING, Tuning
from inrush.core.scale.desired import Load, desired, deviation, horizon_s, keep_s
from inrush.wire import ScalePolicy

seconds = st.floats(0.0001, 1000)
loads = st.builds(
    Load,
    valid=st.just(True),
    idle=st.just(0),
    queued=st.integers(0, 10**6),
    running=st.integers(0, 10**4),
    starting=st.integers(0, 100),
    ready=st.integers(0, 100),
    service_s=st.none() | seconds,
    start_s=st.none() | seconds,
    stall_s=st.floats(0, 1000),
    starting_s=st.floats(0, 1000),
    rate=st.just(0.0),
    starting_mean_s=st.floats(0, 1000),
)
policies = st.builds(
    ScalePolicy,
    min_containers=st.integers(0, 5),
    max_containers=st.none() | st.integers(5, 50),
    buffer_containers=st.integers(0, 3),
    max_inputs=st.integers(1, 64),
    target_inputs=st.none() | st.integers(1, 64),
)


ANY = ScalePolicy()
FRESH = Memo()


def wanted(load: Load, policy: ScalePolicy = ANY, memo: Memo = FRESH) -> int:
    return desired(load, policy, memo, 0.0)[0].wanted


@given(loads, policies)
def test_the_policys_bounds_hold_and_there_is_always_a_why(load: Load, policy: ScalePolicy) -> None:
    decision, _ = desired(load, policy, Memo(), 0.0)
    assert decision.wanted >= policy.min_containers
    assert policy.max_containers is None or decision.wanted <= policy.max_containers
    assert decision.have == load.starting + load.ready
    assert str(decision.wanted) in decision.why


@given(loads, policies)
def test_what_waits_gets_a_container_and_no_slot_is_wanted_without_an_input(load: Load, policy: ScalePolicy) -> None:
    count = wanted(load, policy)
    if load.queued:
        assert count >= 1 or load.starting + load.ready >= 1
        most = load.queued + load.running + policy.buffer_containers + load.ready
        assert count <= max(most, policy.min_containers)


@given(loads, st.integers(1, 1000))
def test_more_waiting_never_means_fewer_containers(load: Load, more: int) -> None:
    load = load._replace(queued=max(1, load.queued))
    assert wanted(load._replace(queued=load.queued + more)) >= wanted(load)


def test_work_decides_not_the_number_of_inputs() -> None:
    short = Load(queued=10_000, ready=1, running=1, service_s=0.001, start_s=0.01)
    assert wanted(short) == 38
    assert wanted(short._replace(service_s=60.0)) == 10_001


def test_costly_starts_are_given_a_longer_horizon() -> None:
    load = Load(queued=100, ready=1, running=1, service_s=1.0, start_s=0.01)
    assert wanted(load) > 2 * wanted(load._replace(start_s=40.0))
    assert horizon_s(40.0) >= 15.0


def test_of_the_unknown_few_are_started_and_doubled_only_when_all_run_and_are_silent() -> None:
    assert wanted(Load(queued=1)) == 1
    assert wanted(Load(queued=1000)) == TUNING.first_starts
    silent = Load(queued=998, running=2, ready=2, stall_s=0.5)
    assert wanted(silent) == 4
    assert wanted(silent._replace(starting=1)) == 3
    assert wanted(silent._replace(stall_s=0.0)) == 2
    _, memo = desired(silent, ScalePolicy(), Memo(), 0.0)
    assert wanted(silent._replace(stall_s=50.0), memo=memo) == 4, "once for each size"
    assert wanted(silent._replace(ready=4, running=4), memo=memo) == 8


def test_an_estimate_that_silence_disproves_is_not_trusted() -> None:
    load = Load(queued=100, running=4, ready=4, service_s=0.001, start_s=0.01, stall_s=0.1)
    assert wanted(load) == 1
    assert wanted(load._replace(stall_s=10.0)) == 8


def test_no_data_is_not_zero() -> None:
    decision, _ = desired(Load(valid=False, ready=3), ScalePolicy(min_containers=1), Memo(), 0.0)
    assert decision.wanted == 3


def measured(start_s: float | None, gap_s: float = 0.0, gaps: int = 0) -> Measured:
    found = Measured(start_s=start_s, service_s=0.1)
    for _ in range(gaps):
        found.arrivals.gaps.seen(gap_s)
    return found


def test_an_idle_container_is_kept_for_what_its_start_is_worth() -> None:
    policy = ScalePolicy(scaledown_window_s=60.0)
    assert keep_s(policy, measured(None)) == 60.0
    assert keep_s(policy, measured(0.01)) == TUNING.keep_min_s
    assert keep_s(policy, measured(1.0)) == TUNING.keep_ratio
    assert keep_s(policy, measured(40.0)) == 60.0
    assert keep_s(ScalePolicy(scaledown_window_s=1.0), measured(0.01)) == 1.0


def test_the_last_container_is_kept_as_the_gaps_seen_say() -> None:
    assert keep_s(ANY, measured(1.0, gap_s=1.5, gaps=TUNING.gap_least - 1)) == TUNING.keep_ratio, "too few to tell"
    assert 1.5 < keep_s(ANY, measured(1.0, gap_s=1.5, gaps=50)) <= 4.0, "the next one is awaited"
    assert keep_s(ANY, measured(1.0, gap_s=30.0, gaps=50)) == TUNING.keep_min_s, "a start costs less than the wait"
    assert keep_s(ANY, measured(40.0, gap_s=30.0, gaps=50)) == 32.0, "and here more"
    assert keep_s(ANY, measured(400.0, gap_s=500.0, gaps=50)) <= 60.0


def test_measures_follow_what_happens() -> None:
    learned = Measured()
    learned.served(1.0, 1, now=1.0)
    assert learned.service_s == 1.0
    for now in range(2, 120):
        learned.served(0.1, 1, float(now))
    assert 0.1 <= learned.service_s < 0.11


def test_containers_are_wanted_for_what_will_have_come_until_they_start() -> None:
    load = Load(queued=10, ready=1, running=1, service_s=1.0, start_s=2.0)
    assert wanted(load._replace(rate=20.0)) > 2 * wanted(load)
    assert wanted(load._replace(rate=20.0)) <= 11 + 20 * 2


def test_steady_traffic_has_containers_to_spare_the_dearer_a_start_the_more() -> None:
    load = Load(running=100, ready=100, service_s=1.0, rate=100.0)
    spare = [wanted(load._replace(start_s=start_s)) - 100 for start_s in (0.005, 1.0, 2.0, 40.0)]
    assert spare == sorted(spare)
    assert spare[0] == 0
    assert spare[-1] == round(TUNING.spare_drain), "no more than a queue needs to drain"
    slow = Load(running=20, ready=20, service_s=20.0, rate=1.0, start_s=40.0)
    assert 24 <= wanted(slow) <= 30


def test_what_starts_is_counted_for_the_part_of_a_start_that_it_will_be_there() -> None:
    load = Load(queued=100, running=10, ready=10, service_s=1.0, start_s=10.0, rate=20.0, starting=20)
    fresh, almost = wanted(load), wanted(load._replace(starting_mean_s=9.0))
    assert fresh > almost + 10


def test_a_queue_that_is_noise_deserves_no_start() -> None:
    load = Load(queued=10, running=22, ready=22, service_s=1.0, start_s=10.0, rate=20.0)
    assert wanted(load) <= 22
    assert wanted(load._replace(queued=200)) > 40


def test_where_starts_are_dear_each_unknown_input_is_started_for_or_ever_fewer_the_dearer_they_are() -> None:
    load = Load(queued=100, starting=2, starting_s=0.05)
    assert wanted(load) == TUNING.first_starts
    assert wanted(load._replace(starting_s=2.0)) == 100
    assert wanted(load._replace(starting_s=4 * TUNING.guess_s)) == 50
    assert wanted(Load(queued=100, ready=2, running=2, start_s=10.0)) == 102


def test_of_several_idle_containers_each_stays_only_as_long_as_its_start_takes() -> None:
    assert keep_s(ANY, measured(10.0), last=False) == 10.0 * TUNING.keep_more_ratio
    assert keep_s(ANY, measured(10.0), last=True) == 60.0
    assert keep_s(ANY, measured(0.005), last=False) == TUNING.keep_more_min_s
    assert keep_s(ANY, measured(10.0), last=False, far_above=True) == 10.0 * TUNING.keep_far_ratio


def test_chance_moves_what_is_wanted_less_where_inputs_outlive_a_start_and_where_slots_are_shared() -> None:
    brief, lasting = measured(10.0), measured(10.0)
    brief.service_s, lasting.service_s = 1.0, 100.0
    assert deviation(64, 1, brief) == pytest.approx(8.0, rel=0.01)
    assert deviation(64, 1, lasting) == pytest.approx(math.sqrt(6.4), rel=0.05)
    assert deviation(64, 4, brief) == pytest.approx(4.0, rel=0.01)
    assert deviation(0, 1, brief) == 0.0


def test_another_tuning_decides_otherwise() -> None:
    load = Load(queued=10_000, ready=1, running=1, service_s=0.001, start_s=0.01)
    eager = desired(load, ANY, FRESH, 0.0, Tuning(horizon_min_s=0.05))[0]
    assert eager.wanted > wanted(load)
    assert keep_s(ANY, measured(1.0), Tuning(keep_ratio=5.0)) == 5.0
