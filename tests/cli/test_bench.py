"""How numbers are judged."""

from __future__ import annotations

import pytest

from inrush.cli.bench.targets import TARGETS, Measured, judge, line, percentile_95


def test_times_pass_when_their_median_is_not_above_what_must_be():
    assert judge(Measured("remote.cold_ms", [60, 60, 500]))["pass"] is True
    assert judge(Measured("remote.cold_ms", [61, 61, 1]))["pass"] is False


def test_rates_pass_when_their_median_is_not_below_what_must_be():
    fast = judge(Measured("map.inputs_per_s", [30_000.0] * 3))
    slow = judge(Measured("map.inputs_per_s", [9_999.0] * 3))
    assert (fast["pass"], fast["goal_reached"], slow["pass"]) == (True, True, False)


def test_the_95th_percentile_is_towards_the_worse_end():
    samples = list(range(100))
    assert percentile_95(samples) == 95
    assert percentile_95(samples, worst_is_low=True) == 4
    assert percentile_95([7]) == 7


def test_a_time_is_told_as_a_ratio_to_bare_python_too():
    assert judge(Measured("remote.cold_ms", [30.0], bare_ms=20.0))["over_bare_python"] == 1.5
    assert "over_bare_python" not in judge(Measured("server.idle_mib", [30.0]))


@pytest.mark.parametrize("name", TARGETS)
def test_every_number_has_a_line_that_says_what_it_must_be(name):
    target = TARGETS[name]
    assert f"{target.must:,g}" in line(judge(Measured(name, [1.0])))
    assert target.goal >= target.must if target.more else target.goal <= target.must
