"""The store: one commit for many writes, no acknowledgement before it, and no failed write that makes others fail."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from inrush.errors import Error, InternalError
from inrush.server.rows import tables
from inrush.server.rows.store import Store

from .peers import DEADLINE_S


def names(connection: sa.Connection) -> list[str]:
    return list(connection.execute(sa.select(tables.settings.c.name).order_by(tables.settings.c.name)).scalars())


async def test_what_is_acknowledged_is_on_disk_for_others_to_see(tmp_path: Path) -> None:
    store = Store(tmp_path)
    insert = store.insert_or_replace(tables.settings)
    seen: list[list[str]] = []
    done = asyncio.Event()

    def told(result: Any, error: Error | None) -> None:
        assert error is None
        with sqlite3.connect(tmp_path / "store.db") as other:
            seen.append([row[0] for row in other.execute("SELECT name FROM settings")])
        done.set()

    store.execute(insert, [{"name": "a", "value": "1"}], told)
    await asyncio.wait_for(done.wait(), DEADLINE_S)
    assert seen == [["a"]]
    await store.close()


async def test_many_writes_share_a_commit(tmp_path: Path) -> None:
    store = Store(tmp_path)
    commits: list[int] = []
    sa.event.listen(store._engine, "commit", lambda connection: commits.append(1))
    insert = store.insert_or_replace(tables.settings)
    for i in range(2000):
        store.execute(insert, [{"name": f"{i:04}", "value": ""}])
    await store.flush()
    assert len(await store.read(names)) == 2000
    assert len(commits) < 200
    await store.close()


async def test_a_write_that_fails_fails_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    insert = store.insert_or_replace(tables.settings)

    def bad(connection: sa.Connection) -> None:
        connection.execute(insert, {"name": "half", "value": "x"})
        connection.execute(sa.text("SELECT * FROM nowhere"))

    async def write(name: str) -> None:
        await store.transact(lambda connection: connection.execute(insert, {"name": name, "value": ""}))

    results = await asyncio.gather(write("a"), store.transact(bad), write("b"), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), InternalError, type(None)]
    assert await store.read(names) == ["a", "b"]
    await store.close()


async def test_what_was_queued_is_committed_at_the_end(tmp_path: Path) -> None:
    store = Store(tmp_path)
    insert = store.insert_or_replace(tables.settings)
    for i in range(100):
        store.execute(insert, [{"name": f"{i:03}", "value": ""}])
    await store.close()
    with sqlite3.connect(tmp_path / "store.db") as other:
        assert other.execute("SELECT count(*) FROM settings").fetchone() == (100,)
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_full_disk_is_said_and_writing_goes_on_when_there_is_room(tmp_path: Path) -> None:
    store = Store(tmp_path)
    limit = 40
    await store.transact(lambda connection: connection.execute(sa.text(f"PRAGMA max_page_count={limit}")))
    insert = store.insert_or_replace(tables.settings)

    async def write(name: str, size: int) -> None:
        await store.transact(lambda connection: connection.execute(insert, {"name": name, "value": "x" * size}))

    with pytest.raises(Error, match="full"):
        await write("large", 1_000_000)
    await write("small", 1)
    assert await store.read(names) == ["small"]
    await store.close()
