"""The store: the database, with one writer thread that commits in groups, and one reader thread.

Writes are queued on the event loop. Whenever the writer is free it gets all queued writes, runs them in one transaction
and commits once, so that a hundred callers share one flush of the disk. Before that a caller may still change its write
(`Operation.taken`). Rows of one statement are executed together, inserts before updates. Reads have a thread and a
connection of their own, so they never wait for a flush, and see every acknowledged write.

The database is SQLite (WAL, synchronous FULL), or PostgreSQL by its URL. A transaction that fails is repeated with one
operation at a time, so that only the faulty one fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from inrush import intact
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
"""The most operations of one transaction."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
QUEUE_OPERATIONS = 262_144
"""The most queued writes; more are refused."""


class Operation:
    """One write: `work` to run in the transaction, or `rows` for statements. `done` is called with the result, or the
    error, after the commit. Once it is `taken`, the writer has it and it must not be changed."""

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
    """The database at `url`, or `home/store.db`. Its methods may be called only on the event loop's thread."""

    def __init__(self, home: Path, url: str = "") -> None:
        if not url:
            os.close(os.open(home / "store.db", os.O_RDWR | os.O_CREAT, 0o600))
        where = url or f"sqlite:///{home / 'store.db'}"
        self._engine = sa.create_engine(where, pool_size=2, max_overflow=0, hide_parameters=True)
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _tune_sqlite)
        self._file = home / "store.db" if not url else None
        with self._undamaged():
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
        """A statement that inserts whole rows, and replaces rows of the same primary key."""
        return upsert(self._engine.dialect.name, table, replace=True)  # type: ignore[no-any-return]

    def insert_or_ignore(self, table: sa.Table) -> sa.Executable:
        """A statement that inserts rows, and leaves rows of the same primary key as they are."""
        return upsert(self._engine.dialect.name, table, replace=False)  # type: ignore[no-any-return]

    def insert(self, table: sa.Table, replace: bool = False, fixed: Sequence[str] = ()) -> Insert:
        """An `Insert` into a table, for `put`."""
        return Insert(self._engine, table, replace, fixed)

    def put(self, inserts: list[tuple[Insert, Values]], done: Done | None = None) -> Operation:
        """Queues rows of which all are written or none; `done` is as in `execute`."""
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
        """Returns when all writes that were queued before are committed, or have failed."""
        await self.transact(lambda connection: None)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs `work` on the reader's connection."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._reads.put((work, future))
        return await future

    def read_now(self, work: Callable[[sa.Connection], T]) -> T:
        """Runs `work` on the calling thread; only for the start, before anybody is served."""
        with self._undamaged(), self._engine.connect() as connection:
            return work(connection)

    @contextlib.contextmanager
    def _undamaged(self) -> Iterator[None]:
        """Raises `InvalidError` with a remedy where the database's file is found to be damaged."""
        try:
            yield
        except sa.exc.DatabaseError as error:
            if self._file is None or getattr(error.orig, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                raise
            remedy = (
                "restore a backup into the home (`inrush restore`), or move the file away: then the server begins "
                "without the apps, calls, Dicts, secrets and tokens that it holds"
            )
            raise intact.damaged(self._file, str(error.orig), remedy) from None

    async def close(self) -> None:
        """Commits the queued writes, and ends the threads."""
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
        """Gives the writer, which is free, all queued writes."""
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
            log.warning(
                "the event loop ended before the store did; the rows are saved, but their writers were not told"
            )


def _run(connection: sa.Connection, group: list[Operation]) -> None:
    """Runs operations in order. The rows between two pieces of `work` are executed one statement at a time, inserts
    before updates."""
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
        return PermissionDeniedError("this id is in use by somebody else's row; choose a new one")
    log.error("store operation failed", exc_info=error)
    return InternalError(f"the store failed: {text}; see server.log")


def _tune_sqlite(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "cache_size=-8192"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
