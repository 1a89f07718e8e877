"""`Ranges` behaves as a set of integers, for all additions and removals in any order."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from inrush.core.model.ranges import Ranges, runs

spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)))


@given(spans)
def test_it_holds_what_a_set_would_hold_and_tells_what_is_new(spans: list[tuple[int, int]]) -> None:
    ranges, model = Ranges(), set[int]()
    for start, count in spans:
        given_now = set(range(start, start + count))
        fresh = [index for span in ranges.add(start, start + count) for index in span]
        assert fresh == sorted(given_now - model)
        model |= given_now
        assert len(ranges) == len(model)
    assert [index for index in range(80) if index in ranges] == sorted(model)


@given(spans, st.randoms(use_true_random=False))
def test_what_is_removed_is_there_no_more(spans: list[tuple[int, int]], random: Random) -> None:
    ranges, model = Ranges(), set[int]()
    for start, count in spans:
        meant = set(range(start, start + count))
        if random.random() < 0.5:
            ranges.add(start, start + count)
            model |= meant
        else:
            ranges.remove(start, start + count)
            model -= meant
        assert [index for index in range(80) if index in ranges] == sorted(model)
        assert len(ranges) == len(model)


@given(st.sets(st.integers(0, 60)))
def test_runs_cover_the_indexes_with_as_few_ranges_as_can_be(indexes: set[int]) -> None:
    found = runs(sorted(indexes))
    assert [index for span in found for index in span] == sorted(indexes)
    assert all(left.stop < right.start for left, right in pairwise(found))


def test_a_million_in_a_row_are_one_range() -> None:
    ranges = Ranges()
    for start in range(0, 1_000_000, 256):
        ranges.add(start, min(start + 256, 1_000_000))
    assert len(ranges) == 1_000_000
    assert ranges.add(0, 1_000_000) == []
