"""Each app gets a range of user ids of its own."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from inrush.agent.containers.uids import UidRanges
from inrush.errors import ResourceExhaustedError
from inrush.launcher.specs import UID_RANGE


def test_each_app_has_a_range_of_its_own_and_keeps_it_over_restarts(tmp_path: Path) -> None:
    ranges = UidRanges(tmp_path / "uids.json")
    first, second = ranges.first_uid("a"), ranges.first_uid("b")
    assert abs(first - second) >= UID_RANGE
    again = UidRanges(tmp_path / "uids.json")
    assert (again.first_uid("b"), again.first_uid("a")) == (second, first)


def test_a_range_is_given_away_only_when_all_are_taken_and_then_the_one_unused_for_longest(tmp_path: Path) -> None:
    ticks = count(1)
    ranges = UidRanges(tmp_path / "uids.json", max_ranges=2, clock=lambda: float(next(ticks)))
    a, b = ranges.first_uid("a"), ranges.first_uid("b")
    assert ranges.first_uid("a") == a
    assert ranges.first_uid("c") == b


def test_ranges_of_running_apps_are_never_given_away(tmp_path: Path) -> None:
    ranges = UidRanges(tmp_path / "uids.json", in_use=lambda: {"a", "b"}, max_ranges=2)
    ranges.first_uid("a"), ranges.first_uid("b")
    with pytest.raises(ResourceExhaustedError, match="in use by running apps"):
        ranges.first_uid("c")
