"""Sets of whole numbers that mostly come in long runs: a million indexes of a map are one pair instead of a million
entries."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Ranges:
    """A set of integers, kept as sorted, disjoint ranges [start, stop) that do not touch."""

    _starts: list[int] = field(default_factory=list, init=False)
    _stops: list[int] = field(default_factory=list, init=False)

    def __contains__(self, value: int) -> bool:
        at = bisect_right(self._starts, value) - 1
        return at >= 0 and value < self._stops[at]

    def __len__(self) -> int:
        return sum(self._stops) - sum(self._starts)

    def add(self, start: int, stop: int) -> list[range]:
        """Adds [start, stop) and returns the parts of it that were not there yet, in order."""
        stops = self._stops
        if stop <= start:
            return []
        if not stops:
            self._starts.append(start)
            stops.append(stop)
        elif start == stops[-1]:
            stops[-1] = stop
        else:
            return self._merge(start, stop)
        return [range(start, stop)]

    def remove(self, start: int, stop: int) -> None:
        """Removes [start, stop), of which not all need be there."""
        starts, stops = self._starts, self._stops
        first, last = bisect_right(stops, start), bisect_left(starts, stop)
        if stop <= start or last <= first:
            return
        left = [(starts[first], start)] if starts[first] < start else []
        right = [(stop, stops[last - 1])] if stop < stops[last - 1] else []
        starts[first:last] = [at for at, _ in left + right]
        stops[first:last] = [at for _, at in left + right]

    def _merge(self, start: int, stop: int) -> list[range]:
        starts, stops = self._starts, self._stops
        first = bisect_right(stops, start - 1)
        last = first
        fresh: list[range] = []
        at = start
        while last < len(starts) and starts[last] <= stop:
            if at < starts[last]:
                fresh.append(range(at, starts[last]))
            at = max(at, stops[last])
            last += 1
        if at < stop:
            fresh.append(range(at, stop))
        if first < last:
            start, stop = min(start, starts[first]), max(stop, stops[last - 1])
        starts[first:last] = [start]
        stops[first:last] = [stop]
        return fresh


def runs(indexes: Iterable[int]) -> list[range]:
    """Ascending indexes as the longest possible ranges."""
    found: list[range] = []
    start = stop = -1
    for index in indexes:
        if index != stop:
            if stop > start:
                found.append(range(start, stop))
            start = index
        stop = index + 1
    if stop > start:
        found.append(range(start, stop))
    return found
