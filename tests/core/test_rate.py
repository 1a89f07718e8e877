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
    assert rate.now(100.5) > 30
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


def test_a_rise_has_a_slope_and_steady_traffic_none_that_is_certain() -> None:
    rising, steady = Rate(), Rate()
    for second in range(60):
        poisson(rising, second, second + 1, 1 + second, seed=second)
    for second in range(300):
        poisson(steady, second, second + 1, 30, seed=second)
    assert 0.3 < rising.slope() < 1.0
    assert steady.slope() < 0.1


def test_nothing_arrived_is_nothing_a_second() -> None:
    rate = Rate()
    assert rate.now(10.0) == 0.0
    assert rate.slope() == 0.0
