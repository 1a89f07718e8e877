"""Durable calls in the database: which exist, their inputs and results, and when they expire.

Results are saved in chunks of columns, each under its lowest index. A chunk holds inputs of one stretch of
`SPAN_INPUTS` only, so that the result of any input is found without reading all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from inrush.server.rows import tables

SPAN_INPUTS = 1024
PAGE_BYTES = 4 * 1024 * 1024
"""Bytes of results that are read at once."""
REMEMBER_S = 14 * 86400.0
"""How long the database remembers that there was a call, after its results are gone."""
EVERYTHING = range(2**31 - 1)
"""The highest index, since indexes are 32-bit integers in the database."""

Columns = tuple[tuple[int, ...], tuple[int, ...], tuple[bytes, ...]]
"""Indexes, statuses, payloads."""

_decode_payloads = msgspec.msgpack.Decoder(tuple[bytes, ...]).decode
_decode_columns = msgspec.msgpack.Decoder(Columns).decode


class Unfinished(NamedTuple):
    """A call with inputs that have no result: its row, the indexes that have one, and its inputs by their first index,
    as they were saved."""

    row: Any
    done: list[int]
    inputs: list[tuple[int, tuple[bytes, ...]]]


def unfinished(connection: sa.Connection) -> Iterator[Unfinished]:
    """All calls with inputs that have no result. They are read by three queries whose rows are merged, because queries
    for each call were most of what a restart with many calls took."""
    c, i, r = tables.calls.c, tables.call_inputs.c, tables.results.c
    some = connection.execution_options(yield_per=1000)
    own = sa.select(c.id).where(c.ended == 0)
    results = sa.select(r.call, r.chunk).where(r.call.in_(own)).order_by(r.call, r.first)
    inputs = sa.select(i.call, i.first, i.payloads).where(i.call.in_(own)).order_by(i.call, i.first)
    results_of, inputs_of = _by_call(some.execute(results)), _by_call(some.execute(inputs))
    for row in some.execute(sa.select(tables.calls).where(c.ended == 0).order_by(c.id)):
        done = [index for _, chunk in results_of(row.id) for index in _decode_columns(chunk)[0]]
        yield Unfinished(row, done, [(first, _decode_payloads(payloads)) for _, first, payloads in inputs_of(row.id)])


def _by_call(rows: Iterable[Any]) -> Callable[[str], list[Any]]:
    """Returns what gives the rows of one call. The calls must be asked for in the order that the rows have."""
    groups = groupby(rows, itemgetter(0))
    call, found = next(groups, ("", iter(())))

    def of(wanted: str) -> list[Any]:
        nonlocal call, found
        if call != wanted:
            return []
        its = list(found)
        call, found = next(groups, ("", iter(())))
        return its

    return of


def bytes_of(connection: sa.Connection, environment: str) -> int:
    """The bytes of all inputs and results of the calls of an environment."""
    own = sa.select(tables.calls.c.id).where(tables.calls.c.environment == environment)
    i, r = tables.call_inputs.c, tables.results.c
    sizes = (
        sa.select(sa.func.sum(sa.func.length(i.payloads))).where(i.call.in_(own)),
        sa.select(sa.func.sum(sa.func.length(r.chunk))).where(r.call.in_(own)),
    )
    return sum(int(connection.execute(size).scalar() or 0) for size in sizes)


def call_of(connection: sa.Connection, id: str) -> Any:
    return connection.execute(sa.select(tables.calls).where(tables.calls.c.id == id)).first()


def _chunks(connection: sa.Connection, id: str, keys: range) -> Iterator[Columns]:
    """The chunks of these keys in order, with one in memory at a time."""
    t = tables.results.c
    query = sa.select(t.chunk).where(t.call == id, t.first >= keys.start, t.first < keys.stop).order_by(t.first)
    with connection.execution_options(yield_per=1).execute(query) as rows:
        for (chunk,) in rows:
            yield _decode_columns(chunk)


def page(connection: sa.Connection, id: str, keys: range) -> tuple[list[Columns], int]:
    """Chunks of these keys, up to about `PAGE_BYTES`, and the key at which the next page begins."""
    page: list[Columns] = []
    size = 0
    for columns in _chunks(connection, id, keys):
        if size > PAGE_BYTES:
            return page, min(columns[0])
        page.append(columns)
        size += sum(map(len, columns[2]))
    return page, keys.stop


def count(connection: sa.Connection, id: str) -> int:
    return sum(len(columns[0]) for columns in _chunks(connection, id, EVERYTHING))


def parts(columns: Columns) -> list[Columns]:
    """Splits results into chunks within one span each."""
    indexes, statuses, payloads = columns
    spans: dict[int, list[int]] = {}
    for at, index in enumerate(indexes):
        spans.setdefault(index // SPAN_INPUTS, []).append(at)
    if len(spans) == 1:
        return [columns]
    return [
        (tuple([indexes[k] for k in at]), tuple([statuses[k] for k in at]), tuple([payloads[k] for k in at]))
        for at in spans.values()
    ]


def expire(connection: sa.Connection, before: float, since: float) -> None:
    """Deletes the inputs of calls that ended after `since` at once, results when their time is over, and the record of
    the call later still."""
    calls = tables.calls.c
    ended = sa.select(calls.id).where(calls.ended > max(since, 0.0))
    connection.execute(sa.delete(tables.call_inputs).where(tables.call_inputs.c.call.in_(ended)))
    old = sa.select(calls.id).where(calls.ended > 0, calls.ended < before)
    connection.execute(sa.delete(tables.results).where(tables.results.c.call.in_(old)))
    forgotten = before - REMEMBER_S
    connection.execute(sa.delete(tables.calls).where(calls.ended > 0, calls.ended < forgotten))
