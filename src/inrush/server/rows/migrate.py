"""Migrates the tables of an older home to the present schema.

`create_all` makes new tables. This file adds columns that came later, each with the value for old rows. Everything from
before there were environments belongs to `main`.
"""

from __future__ import annotations

import sqlalchemy as sa

from inrush.server.rows import tables

_ADDED = (
    (tables.apps, "environment", "main"),
    (tables.secrets, "environment", "main"),
    (tables.calls, "environment", "main"),
    (tables.calls, "app", ""),
    (tables.calls, "caller", ""),
    (tables.environments, "mark", ""),
)
"""Columns, in the order in which they were added to their tables."""


def migrate(engine: sa.Engine) -> None:
    """Adds the missing columns, in one transaction."""
    with engine.begin() as connection:
        for table, column, value in _ADDED:
            if _lacks(connection, table, column):
                connection.execute(
                    sa.text(f"ALTER TABLE {table.name} ADD COLUMN {column} VARCHAR NOT NULL DEFAULT '{value}'")
                )
                if (table.name, column) == ("calls", "app"):
                    connection.execute(sa.text(_NAME_APPS))
        if _lacks(connection, tables.dicts, "environment"):
            _rebuild_dicts(connection)


_NAME_APPS = """UPDATE calls SET app = COALESCE((SELECT apps.name FROM functions JOIN apps ON apps.id = functions.app
WHERE functions.id = calls.function), '')"""


def _lacks(connection: sa.Connection, table: sa.Table, column: str) -> bool:
    return column not in {found["name"] for found in sa.inspect(connection).get_columns(table.name)}


def _rebuild_dicts(connection: sa.Connection) -> None:
    """Makes the table of Dicts again, since SQLite cannot drop a constraint: names were unique, and are now unique per
    environment."""
    rows = connection.execute(sa.text("SELECT id, name, created FROM dicts")).all()
    tables.dicts.drop(connection)
    tables.dicts.create(connection)
    if rows:
        values = [{"id": id, "environment": "main", "name": name, "created": created} for id, name, created in rows]
        connection.execute(sa.insert(tables.dicts), values)
