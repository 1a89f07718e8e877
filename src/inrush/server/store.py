"""The store: rows behind one writer thread with group commit, and one reader thread.

Writes are queued; the writer takes all that wait, runs them in one transaction and commits once, so a hundred callers
share one flush of the disk. Rows of one statement go as one `executemany`, inserts before updates. A reader thread with
its own connection serves reads, which so never wait for a flush and see every write that was acknowledged.

SQLite (WAL, synchronous FULL) by default, PostgreSQL by its URL. A transaction that fails is repeated one operation at
a time, so that only the bad one fails.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from inrush.errors import Error, InternalError, ResourceExhaustedError
from inrush.server import tables

log = logging.getLogger(__name__)

T = TypeVar("T")
Row = Mapping[str, Any]
Work = Callable[[sa.Connection], Any]

GROUP_OPERATIONS = 4096
"""Most operations of one transaction."""
QUEUE_OPERATIONS = 262_144
"""Writes that may wait; more are refused."""


class Operation:
    """One write: `work` runs in the transaction, or `rows` go into `statement`. `done` is told the result, or the
    error, after the commit."""

    __slots__ = ("done", "result", "rows", "statement", "work")

    def __init__(self, done: Callable[[Any, Error | None], None] | None) -> None:
        self.statement: sa.Executable | None = None
        self.rows: Sequence[Row] = ()
        self.work: Work | None = None
        self.result: Any = None
        self.done = done


class Store:
    """Opens the database at `url`, or `home/store.db`. Methods belong to the event loop's thread."""

    def __init__(self, home: Path, url: str = "") -> None:
        if not url:
            os.close(os.open(home / "store.db", os.O_RDWR | os.O_CREAT, 0o600))
        self._engine = sa.create_engine(url or f"sqlite:///{home / 'store.db'}", pool_size=2, max_overflow=0)
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _tune_sqlite)
        tables.metadata.create_all(self._engine)
        self._loop = asyncio.get_running_loop()
        self._writes: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[tuple[Work, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._write, name="store-writer", daemon=True),
            threading.Thread(target=self._read, name="store-reader", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def insert_or_replace(self, table: sa.Table) -> sa.Executable:
        """An upsert of whole rows, by primary key."""
        return _upsert(self._engine.dialect.name, table, replace=True)

    def insert_or_ignore(self, table: sa.Table) -> sa.Executable:
        """An insert that leaves a row of the same key as it is."""
        return _upsert(self._engine.dialect.name, table, replace=False)

    def execute(
        self, statement: sa.Executable, rows: Sequence[Row], done: Callable[[Any, Error | None], None] | None = None
    ) -> None:
        """Queues rows for a statement; `done(None, error or None)` is called on the loop after the commit."""
        operation = Operation(done)
        operation.statement, operation.rows = statement, rows
        self._enqueue(operation)

    async def transact(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs `work` in a transaction of the writer; returns after the commit."""
        future: asyncio.Future[T] = self._loop.create_future()
        operation = Operation(lambda result, error: _settle(future, result, error))
        operation.work = work
        self._enqueue(operation)
        return await future

    async def flush(self) -> None:
        """Returns when all that was queued before is committed (or has failed)."""
        await self.transact(lambda connection: None)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs `work` on the reader's connection."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._reads.put((work, future))
        return await future

    def read_now(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs `work` here and now; only for the start, before anybody is served."""
        with self._engine.connect() as connection:
            return work(connection)

    async def close(self) -> None:
        """Commits what is queued, and ends the threads."""
        self._writes.put(None)
        self._reads.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._engine.dispose()

    def _enqueue(self, operation: Operation) -> None:
        if self._writes.qsize() >= QUEUE_OPERATIONS:
            error = ResourceExhaustedError(f"{QUEUE_OPERATIONS} writes wait for the disk already; try again later")
            if operation.done is not None:
                self._loop.call_soon(operation.done, None, error)
            return
        self._writes.put(operation)

    def _write(self) -> None:
        while True:
            group, ended = self._take()
            if group:
                outcomes = self._commit(group)
                self._tell(_announce, outcomes)
            if ended:
                return

    def _take(self) -> tuple[list[Operation], bool]:
        """All that waits, at least one."""
        group: list[Operation] = []
        while len(group) < GROUP_OPERATIONS:
            try:
                operation = self._writes.get(block=not group)
            except queue.Empty:
                break
            if operation is None:
                return group, True
            group.append(operation)
        return group, False

    def _commit(self, group: list[Operation]) -> list[tuple[Operation, Error | None]]:
        try:
            with self._engine.begin() as connection:
                _run(connection, group)
            return [(operation, None) for operation in group]
        except Exception as error:
            if len(group) == 1:
                return [(group[0], _explain(error))]
        return [self._commit([operation])[0] for operation in group]

    def _read(self) -> None:
        while True:
            item = self._reads.get()
            if item is None:
                return
            work, future = item
            try:
                with self._engine.connect() as connection:
                    self._tell(_settle, future, work(connection), None)
            except Exception as error:
                self._tell(_settle, future, None, _explain(error))

    def _tell(self, function: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            log.warning("the event loop ended before the store did; the rows are safe, nobody was told")


def _run(connection: sa.Connection, group: list[Operation]) -> None:
    """Runs operations. Rows between two pieces of work go a statement at a time, inserts before updates of the same
    rows."""
    rows: dict[sa.Executable, list[Row]] = {}
    for operation in group:
        if operation.work is not None:
            _execute(connection, rows)
            operation.result = operation.work(connection)
        elif operation.statement is not None:
            rows.setdefault(operation.statement, []).extend(operation.rows)
    _execute(connection, rows)


def _execute(connection: sa.Connection, rows: dict[sa.Executable, list[Row]]) -> None:
    for statement in sorted(rows, key=lambda statement: isinstance(statement, sa.Update)):
        if rows[statement]:
            connection.execute(statement, rows[statement])
    rows.clear()


def _announce(outcomes: list[tuple[Operation, Error | None]]) -> None:
    for operation, error in outcomes:
        if operation.done is None:
            if error is not None:
                log.error("rows could not be saved: %s", error)
            continue
        try:
            operation.done(operation.result, error)
        except Exception:
            log.exception("a defect: what waited for a commit failed")


def _settle(future: asyncio.Future[Any], result: Any, error: Error | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def _explain(error: Exception) -> Error:
    if isinstance(error, Error):
        return error
    text = str(getattr(error, "orig", error))
    if "full" in text or "No space" in text:
        return ResourceExhaustedError(f"the store could not be written: {text}; free some disk and try again")
    log.error("store operation failed", exc_info=error)
    return InternalError(f"the store failed: {text}; see server.log")


def _tune_sqlite(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "cache_size=-8192"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _upsert(dialect: str, table: sa.Table, replace: bool) -> sa.Executable:
    keys = [column.name for column in table.primary_key]
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        insert: Any = postgresql.insert(table)
    else:
        from sqlalchemy.dialects import sqlite

        insert = sqlite.insert(table)
    if not replace:
        return insert.on_conflict_do_nothing(index_elements=keys)  # type: ignore[no-any-return]
    values = {c.name: insert.excluded[c.name] for c in table.columns if c.name not in keys}
    return insert.on_conflict_do_update(index_elements=keys, set_=values)  # type: ignore[no-any-return]
