"""Arrivals from a table in a file (`tables.py`): whatever names its columns have, as long as one of them says when.

A row is a call, or several where a column counts them (they are spread evenly until the next row). Times are seconds
(milli-, micro- and nanoseconds are told by their size or by the column's name), ISO dates or times of day; the first
call is at 0. How long a call runs is taken from a column of durations, else from start and end, else from its numbers
of tokens, else it is left open. Where columns are called 1, 2, 3, … they count the calls of minutes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, time
from functools import partial
from typing import cast

from inrush.errors import InvalidError
from inrush.sim.section import Section
from inrush.sim.tables import Row, rows

_ARRIVAL = (
    *("timestamp", "arrival", "arrivaltime", "arrivaltimestamp", "arrivedat", "arrivals", "time", "ts", "at"),
    *("submittime", "submit", "submitted", "submittedat", "submissiontime", "requesttime", "requesttimestamp"),
    *("requestedat", "creationtime", "createtime", "createdat", "created", "enqueuetime", "queuedat", "receivedat"),
    *("starttime", "starttimestamp", "start", "startedat", "invocationtime", "eventtime", "datetime", "date", "when"),
    *("epoch", "t"),
)
_END = (
    *("endtimestamp", "endtime", "end", "endedat", "finishtime", "finish", "finishedat", "completedat"),
    *("completiontime", "deletiontime"),
)
_START = ("starttime", "starttimestamp", "start", "startedat")
_DURATION = (
    *("duration", "servicetime", "service", "runtime", "executiontime", "latency", "elapsed", "elapsedtime"),
    *("processingtime", "executionduration", "length", "e2elatency", "responsetime"),
)
_INPUT = (
    *("contexttokens", "inputtokens", "prompttokens", "requesttokens", "numinputtokens", "inputlength", "tokensin"),
    *("promptlen", "promptlength", "inputlen", "numprompttokens", "numprefilltokens"),
)
_OUTPUT = (
    *("generatedtokens", "outputtokens", "completiontokens", "responsetokens", "numoutputtokens", "outputlength"),
    *("tokensout", "outputlen", "generationlen", "numdecodetokens", "generationtokens"),
)
_COUNT = ("count", "calls", "requests", "invocations", "numrequests", "n", "rps", "qps")
_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "secs": 1.0,
    "seconds": 1.0,
    "milliseconds": 1e-3,
    "nanoseconds": 1e-9,
    "microseconds": 1e-6,
    "min": 60.0,
    "minutes": 60.0,
    "hours": 3600.0,
}
_DATES = ("%Y/%m/%d %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d/%b/%Y:%H:%M:%S %z", "%Y-%m-%d %H:%M:%S %Z")
_NOTHING = frozenset({"", "nan", "na", "n/a", "none", "null", "-"})
MINUTES_LEAST = 10
"""At least so many columns called 1, 2, 3, … are taken for minutes."""

_EPOCHS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""A number above this is not a time in seconds since 1970 of our days, but one in this unit."""


class Durations(Section, frozen=True):
    """How long a call with tokens runs."""

    input_token_s: float = 0.0002
    output_token_s: float = 0.02


class _Columns:
    """Which column means what, by the names in the header."""

    def __init__(self, header: Sequence[str], path: str) -> None:
        self.arrival, self.arrival_unit = _find(header, _ARRIVAL)
        self.start, self.start_unit = _find(header, _START)
        self.end, self.end_unit = _find(header, _END)
        self.duration, self.duration_unit = _find(header, _DURATION)
        self.input, _ = _find(header, _INPUT)
        self.output, _ = _find(header, _OUTPUT)
        self.count, _ = _find(header, _COUNT)
        self.minutes = [position for position, cell in enumerate(header) if cell.strip().isdigit()]
        if len(self.minutes) < MINUTES_LEAST:
            self.minutes = []
        if self.arrival is None and not self.minutes and (self.end is None or self.duration is None):
            named = ", ".join(header)
            raise InvalidError(f"{path}: none of its columns ({named}) says when calls arrive; name one `timestamp`")


def recorded(path: str, durations: Durations) -> Iterator[tuple[float, float | None]]:
    """For every call, in order: when it arrives and how long it runs. Raises `InvalidError` naming the line at
    fault."""
    found = sorted(_calls(path, durations), key=lambda call: call[0])
    began = found[0][0] if found else 0.0
    for number, (at, service_s, count) in enumerate(found):
        until = found[number + 1][0] if number + 1 < len(found) else at
        for k in range(count):
            yield at - began + (until - at) * k / count, service_s


def _calls(path: str, durations: Durations) -> Iterator[tuple[float, float | None, int]]:
    table = rows(path)
    line, header = next(table, (0, []))
    bare = _is_time(header[:1])
    columns = _Columns(["timestamp", *header[1:]] if bare else header, path)
    if columns.minutes and not bare:
        yield from _minutes(path, table, columns.minutes)
        return
    if bare:
        yield _row(header, columns, durations)
    for line, row in table:
        try:
            yield _row(row, columns, durations)
        except (ValueError, IndexError, OverflowError) as error:
            raise InvalidError(f"{path}, line {line}: {error}") from None


def _minutes(path: str, table: Iterator[Row], minutes: Sequence[int]) -> Iterator[tuple[float, float | None, int]]:
    """Arrivals of a table whose rows are functions and whose columns count the calls of a minute: all functions
    together, each minute's calls spread evenly."""
    counts = [0] * (len(minutes) + 1)
    for line, row in table:
        try:
            for minute, position in enumerate(minutes):
                counts[minute] += round(_number(row[position]) or 0)
        except (ValueError, IndexError, OverflowError) as error:
            raise InvalidError(f"{path}, line {line}: {error}") from None
    yield from ((60.0 * minute, None, count) for minute, count in enumerate(counts))


def _row(row: Sequence[str], columns: _Columns, durations: Durations) -> tuple[float, float | None, int]:
    service_s = _service_s(row, columns, durations)
    if columns.arrival is not None:
        at = _time(row[columns.arrival], columns.arrival_unit)
    else:
        assert columns.end is not None
        at = _time(row[columns.end], columns.end_unit) - (service_s or 0.0)
    count = 1 if columns.count is None else max(0, round(_number(row[columns.count]) or 0))
    return at, service_s, count


def _service_s(row: Sequence[str], columns: _Columns, durations: Durations) -> float | None:
    if columns.duration is not None and (taken := _number(row[columns.duration])) is not None:
        return max(0.0, taken * (columns.duration_unit or 1.0))
    if columns.start is not None and columns.end is not None and row[columns.end].strip().lower() not in _NOTHING:
        return max(0.0, _time(row[columns.end], columns.end_unit) - _time(row[columns.start], columns.start_unit))
    if columns.input is None and columns.output is None:
        return None
    return (
        _tokens(row, columns.input) * durations.input_token_s + _tokens(row, columns.output) * durations.output_token_s
    )


def _tokens(row: Sequence[str], column: int | None) -> float:
    return max(0.0, _number(row[column]) or 0.0) if column is not None else 0.0


def _number(text: str) -> float | None:
    """The number in a cell; None where it is empty."""
    text = text.strip()
    if text.lower() in _NOTHING:
        return None
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not a number")
    return number


def _time(text: str, unit: float | None) -> float:
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return _date(text)
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not a time")
    if unit is None:
        unit = next((unit for least, unit in _EPOCHS if number >= least), 1.0)
    return number * unit


def _date(text: str) -> float:
    parsers = [datetime.fromisoformat, _time_of_day, *(partial(_by_format, form) for form in _DATES)]
    for parse in cast(list[Callable[[str], datetime]], parsers):
        try:
            date = parse(text)
        except ValueError:
            continue
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    raise ValueError(f"{text!r} is neither a number of seconds nor an ISO date")


def _time_of_day(text: str) -> datetime:
    return datetime.combine(datetime(1970, 1, 1), time.fromisoformat(text))


def _by_format(form: str, text: str) -> datetime:
    return datetime.strptime(text, form)


def _is_time(cells: Sequence[str]) -> bool:
    try:
        return bool(cells) and math.isfinite(_time(cells[0], None))
    except ValueError:
        return False


def _find(header: Sequence[str], names: Sequence[str]) -> tuple[int | None, float | None]:
    """The first of these names that is a column, and the unit that its name ends with."""
    plain = [_plain(cell) for cell in header]
    for name in names:
        for position, (stem, unit) in enumerate(plain):
            if name in (stem, stem + unit):
                return position, _UNITS.get(unit)
    return None, None


def _plain(cell: str) -> tuple[str, str]:
    """A column's name without its unit, and the unit: `Service Time (ms)` gives (`servicetime`, `ms`)."""
    words = [word for word in re.split(r"[^a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", cell).lower()) if word]
    unit = words.pop() if len(words) > 1 and words[-1] in _UNITS else ""
    return "".join(words), unit
