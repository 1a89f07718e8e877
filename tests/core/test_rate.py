"""The estimated rate of arrivals is steady for steady arrivals, follows changes quickly, and is not inflated by
batches."""

from __future__ import annotations

import random

from inrush.core.model.rate import Rate


def poisson(rate: Rate, begin: float, end: float, per_s: float, seed: int = 7) -> None:
    draw, at = random.Random(seed), begin
    while (at := at + draw.expovariate(per_s)) < end:
        rate.arrived(1, at)


def level(rate: Rate, now: float) -> float:
    return rate.now(now)[0]


def test_steady_traffic_is_told_within_its_noise() -> None:
    rate = Rate()
    seen = []
    for second in range(200):
        poisson(rate, second, second + 1, 20, seed=second)
        seen.append(level(rate, second + 1))
    late = seen[100:]
    assert abs(sum(late) / 100 - 20) < 2
    assert sum(abs(value - 20) < 6 for value in late) > 90


def test_a_ramp_is_followed_where_an_average_would_lag_behind() -> None:
    rate = Rate()
    for second in range(120):
        poisson(rate, second, second + 1, 1 + second / 4, seed=second)
        rate.now(second + 1)
    now, slope = rate.now(120)
    assert abs(now - 31) < 3, "an average over a minute would say 19"
    assert abs(slope - 0.25) < 0.08


def test_the_end_of_a_ramp_is_told_within_two_minutes() -> None:
    rate = Rate()
    for second in range(240):
        poisson(rate, second, second + 1, min(31.0, 1 + second / 4), seed=second)
        now, slope = rate.now(second + 1)
    assert abs(now - 31) < 4
    assert slope < 0.05


def test_steady_traffic_has_no_slope_to_speak_of() -> None:
    rate, slopes = Rate(), []
    for second in range(600):
        poisson(rate, second, second + 1, 20, seed=second)
        slopes.append(rate.now(second + 1)[1])
    late = sorted(abs(slope) for slope in slopes[60:])
    assert late[len(late) // 2] == 0.0
    assert late[-1] < 0.3


def test_a_step_has_no_slope_once_it_is_over() -> None:
    rate = Rate()
    for second in range(160):
        poisson(rate, second, second + 1, 1 if second < 100 else 60, seed=second)
        slope = rate.now(second + 1)[1]
    assert abs(slope) < 0.3


def test_what_comes_together_is_no_trend() -> None:
    rate = Rate()
    poisson(rate, 0, 60, 1)
    for at in (61.0, 66.0, 71.0, 76.0):
        rate.arrived(40, at)
        assert abs(rate.now(at)[1]) * 10 < 8.0


def test_a_step_of_a_hundred_shows_within_half_a_second_and_its_end_within_two() -> None:
    rate = Rate()
    poisson(rate, 0, 100, 1)
    poisson(rate, 100, 100.5, 100)
    assert level(rate, 100.5) > 20
    poisson(rate, 100.5, 160, 100)
    assert 80 < level(rate, 160) < 120
    poisson(rate, 160, 162, 1)
    assert level(rate, 162) < 30


def test_a_map_is_one_event_not_a_rate() -> None:
    rate = Rate()
    poisson(rate, 0, 60, 1)
    for _ in range(20):
        rate.arrived(100, 60.0)
    assert level(rate, 60.0) < 100


def test_a_long_window_begins_anew_where_a_shorter_one_contradicts_it() -> None:
    rate = Rate()
    poisson(rate, 0, 100, 1)
    poisson(rate, 100, 110, 40)
    assert level(rate, 110) > 25, "an average over half a minute alone would say 11"
    poisson(rate, 110, 200, 1)
    assert level(rate, 140) < 4


def test_chance_alone_is_no_change() -> None:
    rate, seen = Rate(), []
    poisson(rate, 0, 100, 5)
    for tenth in range(1000, 6000):
        poisson(rate, tenth / 10, (tenth + 1) / 10, 5, seed=tenth)
        seen.append(level(rate, (tenth + 1) / 10))
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
    assert level(rate, 10.0) == 0.0
