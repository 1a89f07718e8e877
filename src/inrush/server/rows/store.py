"""The store: rows behind one writer thread with group commit, and one reader thread.

Writes are gathered on the event loop; whenever the writer is free it gets all that wait, runs them in one transaction
and commits once, so a hundred callers share one flush of the disk. Until then a write may still be changed by whoever
asked for it (`Operation.taken`). Rows of one statement go together, inserts before updates. A reader thread with its
own connection serves reads, which so never wait for a flush and see every write that was acknowledged.

SQLite (WAL, synchronous FULL) by default, PostgreSQL by its URL. A transaction that fails is repeated one operation at
a time, so that only the bad one fails.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from inrush.errors import Error, InternalError, PermissionDeniedError, ResourceExhaustedError
from inrush.server.rows import tables
from inrush.server.rows.inserts import Insert, upsert
from inrush.server.rows.inserts import Row as Values
from inrush.server.rows.migrate import migrate

log = logging.getLogger(__name__)

T = TypeVar("T")
Row = Mapping[str, Any]
Work = Callable[[sa.Connection], Any]
Done = Callable[[Any, Error | None], None]

GROUP_OPERATIONS = 4096
"""Most operations of one transaction."""
QUEUE_OPERATIONS = 262_144
"""Writes that may wait; more are refused."""


class Operation:
    """One write: `work` runs in the transaction, or `rows` go into statements. `done` is told the result, or the
    error, after the commit. Once it is `taken` it is the writer's."""

    __slots__ = ("done", "inserts", "result", "rows", "statement", "taken", "work")

    def __init__(self, done: Done | None) -> None:
        self.statement: sa.Executable | None = None
        self.rows: Sequence[Row] = ()
        self.inserts: list[tuple[Insert, Values]] = []
        self.work: Work | None = None
        self.result: Any = None
        self.done = done
        self.taken = False


class Store:
    """Opens the database at `url`, or `home/store.db`. Methods belong to the event loop's thread."""

    def __init__(self, home: Path, url: str = "") -> None:
        if not url:
            os.close(os.open(home / "store.db", os.O_RDWR | os.O_CREAT, 0o600))
        where = url or f"sqlite:///{home / 'store.db'}"
        self._engine = sa.create_engine(where, pool_size=2, max_overflow=0, hide_parameters=True)
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _tune_sqlite)
        tables.metadata.create_all(self._engine)
        migrate(self._engine)
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Operation] = []
        self._writing = self._scheduled = False
        self._writes: queue.SimpleQueue[list[Operation] | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[tuple[Work, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._write, name="store-writer", daemon=True),
            threading.Thread(target=self._read, name="store-reader", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def insert_or_replace(self, table: sa.Table) -> sa.Executable:
        """An upsert of whole rows, by primary key."""
        return upsert(self._engine.dialect.name, table, replace=True)  # type: ignore[no-any-return]

    def insert_or_ignore(self, table: sa.Table) -> sa.Executable:
        """An insert that leaves a row of the same key as it is."""
        return upsert(self._engine.dialect.name, table, replace=False)  # type: ignore[no-any-return]

    def insert(self, table: sa.Table, replace: bool = False, fixed: Sequence[str] = ()) -> Insert:
        """For `put`."""
        return Insert(self._engine, table, replace, fixed)

    def put(self, inserts: list[tuple[Insert, Values]], done: Done | None = None) -> Operation:
        """Queues rows, all or none of them; `done` as in `execute`."""
        operation = Operation(done)
        operation.inserts = inserts
        self._enqueue(operation)
        return operation

    def execute(self, statement: sa.Executable, rows: Sequence[Row], done: Done | None = None) -> None:
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
        while self._waiting:
            self._hand_over()
        self._writes.put(None)
        self._reads.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        self._engine.dispose()

    def _enqueue(self, operation: Operation) -> None:
        if len(self._waiting) >= QUEUE_OPERATIONS:
            error = ResourceExhaustedError(f"{QUEUE_OPERATIONS} writes wait for the disk already; try again later")
            if operation.done is not None:
                self._loop.call_soon(operation.done, None, error)
            return
        self._waiting.append(operation)
        if not self._writing and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """To the writer, which is free: all that waits."""
        self._scheduled = False
        group, self._waiting = self._waiting[:GROUP_OPERATIONS], self._waiting[GROUP_OPERATIONS:]
        for operation in group:
            operation.taken = True
        if group:
            self._writing = True
            self._writes.put(group)

    def _written(self, outcomes: list[tuple[Operation, Error | None]]) -> None:
        self._writing = False
        self._hand_over()
        _announce(outcomes)

    def _write(self) -> None:
        while (group := self._writes.get()) is not None:
            self._tell(self._written, self._commit(group))

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
    inserts: dict[Insert, list[Values]] = {}
    rows: dict[sa.Executable, list[Row]] = {}
    for operation in group:
        if operation.work is not None:
            _execute(connection, inserts, rows)
            operation.result = operation.work(connection)
        elif operation.statement is not None:
            rows.setdefault(operation.statement, []).extend(operation.rows)
        else:
            for insert, values in operation.inserts:
                inserts.setdefault(insert, []).append(values)
    _execute(connection, inserts, rows)


def _execute(
    connection: sa.Connection, inserts: dict[Insert, list[Values]], rows: dict[sa.Executable, list[Row]]
) -> None:
    for insert, values in inserts.items():
        insert.run(connection, values)
    for statement in sorted(rows, key=lambda statement: isinstance(statement, sa.Update)):
        if rows[statement]:
            connection.execute(statement, rows[statement])
    inserts.clear()
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
    if isinstance(getattr(error, "orig", error), sqlite3.IntegrityError) or type(error).__name__ == "NotNullViolation":
        return PermissionDeniedError("what is there under this id belongs to somebody else")
    log.error("store operation failed", exc_info=error)
    return InternalError(f"the store failed: {text}; see server.log")


def _tune_sqlite(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "cache_size=-8192"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
