"""Inserts in the shape that costs least: many rows in one statement, compiled once.

SQLite's driver lets other threads run, and then waits for its turn again, at each row that it executes; with a busy
event loop beside it that wait is what a commit mostly consists of. A statement of 64 rows waits once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

Row = tuple[Any, ...]

SIZES = (64, 16, 4, 1)
"""Rows of one statement; few sizes, so that each is compiled once."""
LARGE_BYTES = 1024 * 1024
"""Rows of so many bytes together go one by one, since a driver copies what it is given."""


class Insert:
    """Inserts whole rows of a table, values in the order of its columns. A row whose key is there already is left as
    it is, or with `replace` replaced. With `fixed`, names of columns, the one that is there has to have the same values
    in them; if it has not, all that is written together with the row fails."""

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
        """Inserts them; of rows of one key the last."""
        if self._keys:
            rows = list({tuple([row[i] for i in self._keys]): row for row in rows}.values())
        size = sum([len(value) for row in rows for value in row if type(value) is bytes])
        cursor, at = (
            connection.connection.cursor(),
            0,
        )  # the driver's own: what lies above it costs more than SQLite does
        for step in SIZES if size < LARGE_BYTES else SIZES[-1:]:
            while len(rows) - at >= step:
                values = tuple([value for row in rows[at : at + step] for value in row])
                cursor.execute(self._texts[step], values)
                at += step
        cursor.close()


def upsert(dialect: str, table: sa.Table, replace: bool, fixed: Sequence[str] = ()) -> Any:
    """An insert that leaves a row of the same key as it is, or replaces it; `fixed` as in `Insert`."""
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
        values[keys[0]] = sa.case((same, table.c[keys[0]]))  # else null, which a key may not be
    return insert.on_conflict_do_update(index_elements=keys, set_=values)
