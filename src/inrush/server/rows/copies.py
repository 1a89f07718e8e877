"""Copies of the whole database: to a SQLite file, and from one.

SQLite is copied by its own online backup, which sees one committed state while others write. PostgreSQL is read in one
transaction that sees one snapshot, table by table. So a copy is always a SQLite file, whatever the database is.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from inrush.errors import AlreadyExistsError, InvalidError
from inrush.server.rows import tables
from inrush.server.rows.migrate import migrate

_ROWS = 500
"""Rows that are in memory at once."""


def copy_out(home: Path, url: str, to: Path) -> None:
    """Copies the database at `url`, or `home/store.db`, to a new SQLite file."""
    if url:
        with _engine(url) as source, _engine(f"sqlite:///{to}") as target:
            _copy_rows(source, target)
        return
    there = sqlite3.connect(f"{(home / 'store.db').as_uri()}?mode=rw", uri=True)
    with contextlib.closing(there), contextlib.closing(sqlite3.connect(to)) as here:
        there.backup(here)
        here.execute("PRAGMA journal_mode=DELETE")  # one file that needs no other beside it


def check(copy: Path) -> None:
    """Raises `InvalidError` for a copy that SQLite finds damaged."""
    try:
        with contextlib.closing(sqlite3.connect(copy)) as file:
            found = str(file.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise InvalidError(f"the database in the backup is damaged: {found}; use another backup")


def copy_in(copy: Path, url: str) -> None:
    """Copies a SQLite file into the database at `url`. Raises `AlreadyExistsError` if that has apps, secrets, Dicts or
    calls already."""
    with _engine(f"sqlite:///{copy}") as source, _engine(url) as target:
        tables.metadata.create_all(source)
        migrate(source)
        _copy_rows(source, target)


@contextlib.contextmanager
def _engine(url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(url, hide_parameters=True)
    try:
        yield engine
    finally:
        engine.dispose()


def _copy_rows(source: sa.Engine, target: sa.Engine) -> None:
    tables.metadata.create_all(target)
    migrate(target)
    snapshot = source.connect()
    if source.dialect.name == "postgresql":
        snapshot = snapshot.execution_options(isolation_level="REPEATABLE READ")
    with snapshot, target.begin() as into:
        for table in tables.metadata.sorted_tables:
            if into.execute(sa.select(sa.func.count()).select_from(table)).scalar():
                raise AlreadyExistsError(
                    f"the database has {table.name} already; name an empty one by the setting database_url"
                )
            for rows in snapshot.execution_options(yield_per=_ROWS).execute(sa.select(table)).mappings().partitions():
                into.execute(sa.insert(table), [dict(row) for row in rows])
