"""Calls that the server owns: saved before they are acknowledged, alive after a crash, their results kept for days.

A spawned call may run before its rows are committed, but `Accepted` and results are sent only after. Inputs and results
are saved as chunks, a row each, by the group commit of the store. A call that ended before its commit began is saved
as one that has: with its results, and without its inputs, which nobody needs any more. A result that cannot be saved (a
full disk) is tried again until it can (`unsaved`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from operator import itemgetter
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from inrush import wire
from inrush.core.model import effects, events
from inrush.core.model.ranges import Ranges, runs
from inrush.errors import Error, InvalidError, OutputExpiredError, ResourceExhaustedError
from inrush.server.apps.functions import Functions
from inrush.server.calls import saved
from inrush.server.calls.call import Call, Owner, not_found
from inrush.server.calls.live import WHOSE, Live, send_wanted
from inrush.server.calls.saved import Columns
from inrush.server.calls.table import Calls
from inrush.server.calls.unsaved import Unsaved
from inrush.server.payloads.blobs import referred_ids
from inrush.server.rows import tables
from inrush.server.rows.inserts import Insert
from inrush.server.rows.quota import Quota
from inrush.server.rows.store import Store
from inrush.server.trust.principal import Principal, owns_call
from inrush.wire import Status

log = logging.getLogger(__name__)

SWEEP_S = 60.0
SWEEP_SLACK_S = 600.0
"""Calls that ended so long before the last sweep are not looked at again: clocks are set, and commits take time."""
ABANDONED_S = 60.0
"""After a restart, clients have so long to send the rest of calls that were not saved as a whole."""

_encode = msgspec.msgpack.Encoder().encode


class Reader(Owner, Protocol):
    """An owner that reads saved results."""

    async def room(self) -> None:
        """Waits until it has read enough of what it was sent."""


class Durable:
    """Saves, restores and serves durable calls."""

    def __init__(self, store: Store, calls: Calls, functions: Functions, result_ttl_s: float, limit_bytes: int) -> None:
        """Calls of one environment may take `limit_bytes` of the store before no more are taken."""
        self._quota = Quota(store, limit_bytes, saved.bytes_of, "spawned calls")
        self._store, self._calls, self._functions, self._ttl_s = store, calls, functions, result_ttl_s
        self._live: dict[str, Live] = {}
        self._insert_call = store.insert(tables.calls, fixed=WHOSE)
        self._replace_call = store.insert(tables.calls, replace=True, fixed=WHOSE)
        self._insert_inputs = store.insert(tables.call_inputs)
        self._insert_results = store.insert(tables.results)
        self._end_call = (
            sa.update(tables.calls).where(tables.calls.c.id == sa.bindparam("call")).values(ended=sa.bindparam("at"))
        )
        its = [tables.calls.c[name] == sa.bindparam(f"its_{name}") for name in WHOSE]
        self._set_total = (
            sa.update(tables.calls)
            .where(tables.calls.c.id == sa.bindparam("call"), *its)
            .values(total=sa.bindparam("n"))
        )
        self._sweeper: asyncio.Task[None] | None = None
        self._unsaved = Unsaved()
        calls.resolve_durable = self.resolved

    def __len__(self) -> int:
        return len(self._live)

    def count(self, who: Principal) -> int:
        """Calls under way of functions that somebody reaches."""
        return sum(who.reaches(live.call.function.environment) for live in self._live.values())

    # ── taking calls ─────────────────────────────────────────────────────────────────────────────────────────────────

    def accepted(self, owner: Owner, call: Call, message: wire.StartCall) -> None:
        """A spawned call, new or sent again: saves it, and acknowledges when all its inputs are committed."""
        owner.awaits.add(call.id)
        live = self._live.get(call.id)
        if live is not None:
            live.accepting.append(owner)
            self._acknowledge(live)
            return
        try:
            self._quota.charge(call.function.environment, sum(map(len, message.payloads)))
        except ResourceExhaustedError as error:
            owner.send(wire.CallRefused(call.id, type(error).__name__, str(error)))
            self._calls.forget(call)
            return
        live = self._live[call.id] = Live(call, time.time())
        live.accepting.append(owner)
        count = len(message.payloads)
        rows = [
            (self._insert_call, live.row(0.0)),
            (self._insert_inputs, (call.id, message.first, _encode(message.payloads))),
        ]
        live.start = self._store.put(rows, lambda _, error: self._started(live, count, error))

    def more(self, call: Call, first: int, payloads: tuple[bytes, ...]) -> None:
        """Further inputs of a spawned map."""
        live = self._live.get(call.id)
        if live is None:
            return
        encoded = _encode(payloads)
        self._quota.add(call.function.environment, len(encoded))
        rows = [*self._claim(live), (self._insert_inputs, (call.id, first, encoded))]
        self._store.put(rows, lambda _, error: self._saved(live, len(payloads), error))

    def total_known(self, call: Call) -> None:
        """Saves the number of inputs of a spawned map, which its client has told now."""
        live = self._live.get(call.id)
        if live is not None:
            its = {f"its_{name}": value for name, value in zip(WHOSE, live.whose(), strict=True)}
            rows = [{"call": call.id, "n": call.total, **its}]
            self._store.execute(self._set_total, rows, lambda _, error: self._saved(live, 0, error))

    def _claim(self, live: Live) -> list[tuple[Insert, tuple[Any, ...]]]:
        """The row of a call that is not committed yet. It is written with each of the call's other rows, so that the
        commit fails if the id belongs to somebody else's call."""
        return [(self._insert_call, live.row(0.0))] if live.start is not None else []

    def _started(self, live: Live, inputs: int, error: Error | None) -> None:
        self._saved(live, inputs, error)
        joined, live.joined, live.start = live.joined, [], None
        if error is None:
            for columns in joined:
                self._results_saved(live, columns, None)

    def _saved(self, live: Live, inputs: int, error: Error | None) -> None:
        live.saved += inputs
        if error is None:
            self._acknowledge(live)
            return
        for owner in live.accepting:
            owner.send(wire.CallRefused(live.call.id, type(error).__name__, f"the call could not be saved: {error}"))
        self._answered(live)
        if self._live.pop(live.call.id, None) is not None:
            self._calls.forget(live.call)

    def _acknowledge(self, live: Live) -> None:
        if live.whole:
            for owner in live.accepting:
                owner.send(wire.Accepted(live.call.id, max(live.call.total, 1)))
            self._answered(live)

    def _answered(self, live: Live) -> None:
        """Those who waited for the call to be saved have been told."""
        for owner in live.accepting:
            if owner not in live.waiters:
                owner.awaits.discard(live.call.id)
        live.accepting.clear()

    def _abandon(self, live: Live) -> None:
        """Ends a call whose client went before all of it was here: nobody was told that it is saved, and nobody knows
        how many inputs it was to have."""
        self._live.pop(live.call.id, None)
        self._calls.forget(live.call)
        self._store.execute(self._end_call, [{"call": live.call.id, "at": time.time()}])

    # ── results ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def resolved(self, call: Call, effect: effects.Resolve, payloads: tuple[bytes, ...]) -> None:
        """Results of a durable call: saved first, then told."""
        live = self._live.get(call.id)
        if live is not None:
            columns = (effect.indexes, effect.statuses, payloads)
            for part in saved.parts(columns) if len(effect.indexes) > 1 else (columns,):
                live.unsaved += 1
                self._save_results(live, part)

    def _save_results(self, live: Live, columns: Columns) -> None:
        chunk = _encode(columns)
        self._quota.add(live.call.function.environment, len(chunk))
        results = (self._insert_results, (live.call.id, min(columns[0]), chunk))
        start = live.start
        live.ended = live.call.finished and live.unsaved == 1 + len(live.joined)  # so nothing else can still fail
        if start is not None and not start.taken:
            live.joined.append(columns)
            if live.ended:
                past = [row for row in start.inserts if row[0] is self._insert_results]
                start.inserts = [(self._insert_call, live.row(time.time())), *past, results]
            else:
                start.inserts.append(results)
            return
        rows = [results, (self._replace_call, live.row(time.time()))] if live.ended else [*self._claim(live), results]
        self._store.put(rows, lambda _, error: self._results_saved(live, columns, error))

    def _results_saved(self, live: Live, columns: Columns, error: Error | None) -> None:
        if error is not None:
            self._unsaved.again(str(error), partial(self._save_results, live, columns))
            return
        self._unsaved.saved()
        live.unsaved -= 1
        live.stored += len(columns[0])
        live.tell(columns)
        if live.call.finished and live.unsaved == 0:
            self._end(live)

    def _end(self, live: Live) -> None:
        if not live.ended:
            self._store.put([(self._replace_call, live.row(time.time()))])
        self._live.pop(live.call.id, None)
        for owner in live.waiters:
            owner.awaits.discard(live.call.id)
        self._calls.drop(live.call)

    def wait(self, owner: Owner, message: wire.AwaitCall) -> Ranges | None:
        """Has the results that an owner wants sent to it as they are saved. If there may be results that only the store
        has, returns which are wanted, for `send_stored`."""
        live, asked = self._live.get(message.call), _asked(message)
        if live is None or not live.call.owned_by(owner.principal):
            wanted = Ranges()
            wanted.add(asked.start, asked.stop)
            return wanted
        wanted = live.waiters.setdefault(owner, Ranges())
        wanted.add(asked.start, asked.stop)
        owner.awaits.add(message.call)
        return wanted if live.stored > 0 else None

    def waiting(self, id: str) -> list[Owner]:
        """Who waits for results of a call."""
        live = self._live.get(id)
        return [*live.waiters] if live is not None else []

    async def send_stored(self, owner: Reader, message: wire.AwaitCall, wanted: Ranges) -> None:
        """Sends the results that are wanted and that the store has, a page at a time and no faster than it reads; or
        says that there is no such call, or no more."""
        id, asked = message.call, _asked(message)
        try:
            row = await self._store.read(partial(saved.call_of, id=id))
            live = self._live.get(id)
            fresh = row is None and live is not None and live.call.owned_by(owner.principal)
            if not fresh and not _owned(row, owner.principal):
                running = self._calls.get(id)
                if running is not None and running.owned_by(owner.principal):
                    raise InvalidError(f"the result of {id} goes to who called it: only spawned calls can be asked for")
                raise not_found(id)
            self._check_kept(row)
            at = asked.start - asked.start % saved.SPAN_INPUTS
            while at < asked.stop:
                chunks, at = await self._store.read(partial(saved.page, id=id, keys=range(at, asked.stop)))
                for columns in chunks:
                    send_wanted(owner, id, columns, wanted)
                await owner.room()
        except Error as error:
            owner.send(wire.CallRefused(id, type(error).__name__, str(error)))

    def unwait(self, owner: Owner, id: str) -> None:
        """The owner no longer asks for this call."""
        owner.awaits.discard(id)
        live = self._live.get(id)
        if live is None:
            return
        live.waiters.pop(owner, None)
        if owner in live.accepting:
            live.accepting.remove(owner)
            if not (live.accepting or live.whole):
                self._abandon(live)

    def left(self, owner: Owner) -> None:
        """The owner is gone."""
        for id in list(owner.awaits):
            self.unwait(owner, id)

    async def find(self, id: str, principal: Principal) -> dict[str, Any]:
        """What `FindCall` answers. Raises `NotFoundError`."""
        row = await self._store.read(partial(saved.call_of, id=id))
        if row is None and (running := self._calls.get(id)) is not None and running.owned_by(principal):
            return {
                "function": running.function.id,
                "kind": running.kind,
                "inputs": running.total,
                "done": running.settled,
            }
        if row is None or not _owned(row, principal):
            raise not_found(id)
        self._check_kept(row)
        live = self._live.get(id)
        done = live.stored if live is not None else await self._store.read(partial(saved.count, id=id))
        return {"function": row.function, "kind": row.kind, "inputs": row.total, "done": done}

    def _check_kept(self, row: Any) -> None:
        if row is not None and row.ended and row.ended < time.time() - self._ttl_s:
            raise OutputExpiredError(
                f"the results of {row.id} were kept for {self._ttl_s:.0f} s (setting result_ttl_s), "
                "and have been deleted"
            )

    # ── restart and time ─────────────────────────────────────────────────────────────────────────────────────────────

    def restore(self) -> list[tuple[events.CallArrived, tuple[tuple[int, int], ...]]]:
        """Calls that have inputs without a result, for `Restored`, the oldest first. Those whose function is gone end
        as not found."""
        return self._store.read_now(self._restore)

    def _restore(self, connection: sa.Connection) -> list[tuple[events.CallArrived, tuple[tuple[int, int], ...]]]:
        restored = []
        for row, done, inputs in saved.unfinished(connection):
            function = self._functions.get(row.function)
            if function is None:
                self._lost(row, set(done))
                continue
            call = Call(wire.StartCall(row.id, row.function, row.kind, row.method, (), 0, row.total), function, None)
            call.caller = row.caller
            for first, payloads in inputs:
                call.add(first, payloads)
                call.blobs.extend(referred_ids(payloads))
            call.settle(done)
            if call.finished:
                self._store.execute(self._end_call, [{"call": row.id, "at": time.time()}])
                continue
            self._live[row.id] = Live(call, row.created, saved=len(call.waiting) + call.settled)
            self._calls.restore(call)
            arrived = events.CallArrived(row.id, function.id, row.kind, row.total, True)
            waiting = tuple([(run.start, run.stop) for run in runs(sorted(call.waiting))])
            restored.append((row.created, arrived, waiting))
        restored.sort(key=itemgetter(0))
        return [(arrived, waiting) for _, arrived, waiting in restored]

    def _lost(self, row: Any, done: set[int]) -> None:
        indexes = tuple(i for i in range(max(row.total, 0)) if i not in done)
        failure = wire.system_failure(
            "NotFoundError", f"function {row.function} of this call is gone: its app has ended"
        )
        if indexes:
            columns = (indexes, (int(Status.INTERNAL),) * len(indexes), (failure,) * len(indexes))
            for part in saved.parts(columns):
                self._store.put([(self._insert_results, (row.id, part[0][0], _encode(part)))])
        self._store.execute(self._end_call, [{"call": row.id, "at": time.time()}])

    def start(self) -> None:
        """Begins to let go what is kept long enough."""
        self._sweeper = asyncio.create_task(self._sweep())
        asyncio.get_running_loop().call_later(ABANDONED_S, self._abandon_parts)

    def _abandon_parts(self) -> None:
        for live in [live for live in self._live.values() if not (live.whole or live.accepting)]:
            self._abandon(live)

    def stop(self) -> None:
        """Ends the sweeping."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._unsaved.close()

    async def _sweep(self) -> None:
        swept = 0.0
        while True:
            await asyncio.sleep(SWEEP_S)
            now = time.time()
            try:
                await self._store.transact(partial(saved.expire, before=now - self._ttl_s, since=swept - SWEEP_SLACK_S))
                swept = now
            except Error as error:
                log.warning("old results could not be removed: %s", error)


def _owned(row: Any, principal: Principal) -> bool:
    """Whether the call of a row belongs to a principal."""
    return row is not None and owns_call(principal, row.environment, row.app, row.caller)


def _asked(message: wire.AwaitCall) -> range:
    first = max(message.first, 0)
    return range(first, first + message.count) if message.count > 0 else saved.EVERYTHING[first:]
