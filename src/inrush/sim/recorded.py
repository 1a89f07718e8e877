"""Arrivals from a CSV file: whatever names its columns have, as long as one of them says when.

A row is a call, or several where a column counts them (they are spread evenly until the next row). Times are seconds
(milli-, micro- and nanoseconds are told by their size or by the column's name) or ISO dates; the first call is at 0.
How long a call runs is taken from a column of durations, else from its numbers of tokens, else it is left open.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from inrush.errors import InvalidError
from inrush.sim.parts import Part

_ARRIVAL = (
    *("timestamp", "arrival", "arrivaltime", "arrivaltimestamp", "arrivedat", "arrivals", "time", "ts", "at"),
    *("starttime", "starttimestamp", "start", "submittime", "submit", "submitted", "requesttime", "requesttimestamp"),
    *("datetime", "date", "createdat", "t"),
)
_END = ("endtimestamp", "endtime", "end", "finishtime", "finish")
_DURATION = (
    *("duration", "servicetime", "service", "runtime", "executiontime", "latency", "elapsed", "processingtime"),
    *("executionduration", "length"),
)
_INPUT = ("contexttokens", "inputtokens", "prompttokens", "requesttokens", "numinputtokens", "inputlength", "tokensin")
_OUTPUT = (
    *("generatedtokens", "outputtokens", "completiontokens", "responsetokens", "numoutputtokens", "outputlength"),
    "tokensout",
)
_COUNT = ("count", "calls", "requests", "invocations", "numrequests", "n")
_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "secs": 1.0, "seconds": 1.0, "milliseconds": 1e-3}
_EPOCHS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""Above this a number is no time in seconds since 1970 of our days, but one in this unit."""


class Durations(Part, frozen=True):
    """How long a call with tokens runs."""

    input_token_s: float = 0.0002
    output_token_s: float = 0.02


class _Columns:
    """Which column says what, by the names in the header."""

    def __init__(self, header: Sequence[str], path: str) -> None:
        self.arrival, self.arrival_unit = _find(header, _ARRIVAL)
        self.end, self.end_unit = _find(header, _END)
        self.duration, self.duration_unit = _find(header, _DURATION)
        self.input, _ = _find(header, _INPUT)
        self.output, _ = _find(header, _OUTPUT)
        self.count, _ = _find(header, _COUNT)
        if self.arrival is None and (self.end is None or self.duration is None):
            named = ", ".join(header)
            raise InvalidError(f"{path}: none of its columns ({named}) says when calls arrive; name one `timestamp`")


def recorded(path: str, durations: Durations) -> Iterator[tuple[float, float | None]]:
    """(when it arrives, how long it runs) of every call, in order. Raises `InvalidError` naming the line at fault."""
    rows = sorted(_rows(path, durations), key=lambda row: row[0])
    began = rows[0][0] if rows else 0.0
    for number, (at, service_s, count) in enumerate(rows):
        until = rows[number + 1][0] if number + 1 < len(rows) else at
        for k in range(count):
            yield at - began + (until - at) * k / count, service_s


def _rows(path: str, durations: Durations) -> Iterator[tuple[float, float | None, int]]:
    with _open(path) as file:
        sample = file.read(4096)
        file.seek(0)
        reader = csv.reader(file, delimiter=_delimiter(sample))
        header = next(reader, [])
        columns = _Columns(header if not _is_time(header[:1]) else ["timestamp", *header[1:]], path)
        if _is_time(header[:1]):
            yield _row(header, columns, durations)
        for row in reader:
            if any(cell.strip() for cell in row):
                try:
                    yield _row(row, columns, durations)
                except (ValueError, IndexError, OverflowError) as error:
                    raise InvalidError(f"{path}, line {reader.line_num}: {error}") from None


def _open(path: str) -> IO[str]:
    try:
        if path.endswith(".gz"):
            return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
        return Path(path).open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise InvalidError(f"the trace {path} cannot be read: {error.strerror}") from None


def _delimiter(sample: str) -> str:
    first = sample.splitlines()[0] if sample.strip() else ""
    return max(",;\t", key=first.count)


def _row(row: Sequence[str], columns: _Columns, durations: Durations) -> tuple[float, float | None, int]:
    service_s = None
    if columns.duration is not None and row[columns.duration].strip():
        service_s = max(0.0, float(row[columns.duration]) * (columns.duration_unit or 1.0))
    elif columns.input is not None or columns.output is not None:
        service_s = _tokens(row, columns.input) * durations.input_token_s
        service_s += _tokens(row, columns.output) * durations.output_token_s
    if columns.arrival is not None:
        at = _time(row[columns.arrival], columns.arrival_unit)
    else:
        assert columns.end is not None
        at = _time(row[columns.end], columns.end_unit) - (service_s or 0.0)
    count = 1 if columns.count is None else max(0, round(float(row[columns.count])))
    return at, service_s, count


def _tokens(row: Sequence[str], column: int | None) -> float:
    return float(row[column] or 0) if column is not None else 0.0


def _time(text: str, unit: float | None) -> float:
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return _date(text)
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is no time")
    if unit is None:
        unit = next((unit for least, unit in _EPOCHS if number >= least), 1.0)
    return number * unit


def _date(text: str) -> float:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a number of seconds nor an ISO date") from None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _is_time(cells: Sequence[str]) -> bool:
    try:
        return bool(cells) and math.isfinite(_time(cells[0], None))
    except ValueError:
        return False


def _find(header: Sequence[str], names: Sequence[str]) -> tuple[int | None, float | None]:
    """The column of the first of these names that is there, and the unit that its name ends with."""
    plain = [_plain(cell) for cell in header]
    for name in names:
        for position, (stem, unit) in enumerate(plain):
            if name in (stem, stem + unit):
                return position, _UNITS.get(unit)
    return None, None


def _plain(cell: str) -> tuple[str, str]:
    """`Service Time (ms)` → (`servicetime`, `ms`)."""
    words = [word for word in re.split(r"[^a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", cell).lower()) if word]
    unit = words.pop() if len(words) > 1 and words[-1] in _UNITS else ""
    return "".join(words), unit
