"""Inserts of many rows in one statement, which is compiled once.

SQLite's driver releases the GIL for each statement, and waits to get it back; with a busy event loop that wait is most
of a commit's time. A statement of 64 rows waits once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

Row = tuple[Any, ...]

SIZES = (64, 16, 4, 1)
"""The numbers of rows in a statement. They are few, so that each statement is compiled once."""
LARGE_BYTES = 1024 * 1024
"""Rows with more bytes together are inserted one by one, since the driver copies its arguments."""


class Insert:
    """Inserts whole rows into a table, with values in the order of its columns. A row whose key exists is left as it
    is, or replaced with `replace`. An existing row must have the same values in the columns `fixed`, which are not
    nullable; if it does not, the whole operation fails."""

    def __init__(self, engine: sa.Engine, table: sa.Table, replace: bool = False, fixed: Sequence[str] = ()) -> None:
        text = re.sub(r"%\(\w+\)s", "%s", str(upsert(engine.dialect.name, table, replace, fixed).compile(engine)))
        self._head, _, rest = text.partition(" VALUES ")
        self._row, _, tail = rest.partition(" ON CONFLICT ")
        self._tail = f" ON CONFLICT {tail}"
        self._texts = {size: self._text(size) for size in SIZES}
        keyed = replace or fixed
        self._keys = [i for i, column in enumerate(table.columns) if column.primary_key] if keyed else []

    def _text(self, rows: int) -> str:
        return f"{self._head} VALUES {', '.join([self._row] * rows)}{self._tail}"

    def run(self, connection: sa.Connection, rows: Sequence[Row]) -> None:
        """Inserts rows; of several rows with one key, the last."""
        if self._keys:
            rows = list({tuple([row[i] for i in self._keys]): row for row in rows}.values())
        size = sum([len(value) for row in rows for value in row if type(value) is bytes])
        cursor = connection.connection.cursor()  # the driver's own, since SQLAlchemy's costs more than SQLite itself
        at = 0
        for step in SIZES if size < LARGE_BYTES else SIZES[-1:]:
            while len(rows) - at >= step:
                values = tuple([value for row in rows[at : at + step] for value in row])
                cursor.execute(self._texts[step], values)
                at += step
        cursor.close()


def upsert(dialect: str, table: sa.Table, replace: bool, fixed: Sequence[str] = ()) -> Any:
    """An insert that leaves an existing row of the same key as it is, or replaces it; `fixed` is as in `Insert`."""
    keys = [column.name for column in table.primary_key]
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        insert: Any = postgresql.insert(table)
    else:
        from sqlalchemy.dialects import sqlite

        insert = sqlite.insert(table)
    if not replace and not fixed:
        return insert.on_conflict_do_nothing(index_elements=keys)
    kept = (*keys, *fixed) if replace else [c.name for c in table.columns]
    values: dict[str, Any] = {c.name: insert.excluded[c.name] for c in table.columns if c.name not in kept}
    if fixed:
        same = sa.and_(*[table.c[name] == insert.excluded[name] for name in fixed])
        values[fixed[0]] = sa.case((same, table.c[fixed[0]]))  # else NULL, which the column refuses: no key is written
    return insert.on_conflict_do_update(index_elements=keys, set_=values)
