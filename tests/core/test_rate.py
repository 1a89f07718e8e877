"""The rate of arrivals: steady where they are, quick where they change, not deceived by what comes together."""

from __future__ import annotations

import random

from inrush.core.rate import Rate


def poisson(rate: Rate, begin: float, end: float, per_s: float, seed: int = 7) -> None:
    draw, at = random.Random(seed), begin
    while (at := at + draw.expovariate(per_s)) < end:
        rate.arrived(1, at)


def test_steady_traffic_is_told_within_its_noise() -> None:
    rate = Rate()
    seen = []
    for second in range(200):
        poisson(rate, second, second + 1, 20, seed=second)
        seen.append(rate.now(second + 1))
    late = seen[100:]
    assert abs(sum(late) / 100 - 20) < 2
    assert sum(abs(value - 20) < 6 for value in late) > 90


def test_a_step_of_a_hundred_shows_within_half_a_second_and_its_end_within_two() -> None:
    rate = Rate()
    poisson(rate, 0, 100, 1)
    poisson(rate, 100, 100.5, 100)
    assert rate.now(100.5) > 20
    poisson(rate, 100.5, 160, 100)
    assert 80 < rate.now(160) < 120
    poisson(rate, 160, 162, 1)
    assert rate.now(162) < 30


def test_a_map_is_one_event_not_a_rate() -> None:
    rate = Rate()
    poisson(rate, 0, 60, 1)
    for _ in range(20):
        rate.arrived(100, 60.0)
    assert rate.now(60.0) < 100


def test_a_long_window_begins_anew_where_a_shorter_one_contradicts_it() -> None:
    rate = Rate()
    poisson(rate, 0, 100, 1)
    poisson(rate, 100, 110, 40)
    assert rate.now(110) > 25, "an average over half a minute alone would say 11"
    poisson(rate, 110, 200, 1)
    assert rate.now(140) < 4


def test_chance_alone_is_no_change() -> None:
    rate, seen = Rate(), []
    poisson(rate, 0, 100, 5)
    for tenth in range(1000, 6000):
        poisson(rate, tenth / 10, (tenth + 1) / 10, 5, seed=tenth)
        seen.append(rate.now((tenth + 1) / 10))
    assert max(seen) < 8
    assert min(seen) > 2.5


def test_gaps_are_told_between_what_did_not_come_together() -> None:
    rate = Rate()
    for at in (0.0, 0.001, 0.002, 10.0, 10.001, 20.0):
        rate.arrived(1, at)
    assert rate.gaps.total == 2
    assert sum(rate.gaps.sums_s) == 20.0


def test_nothing_arrived_is_nothing_a_second() -> None:
    rate = Rate()
    assert rate.now(10.0) == 0.0
