"""Spawned calls: the server owns them, and any program of the environment that knows a call's id has its result."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Generic, NoReturn, TypeVar

from inrush.client import _checks
from inrush.client._connection import Link
from inrush.client._dual import Dual, Mailbox, dual, dual_iter
from inrush.client._inflight import Chunk, Result
from inrush.client._link import current
from inrush.client._missing import Suggests
from inrush.client._payload import value_of
from inrush.client._spawned import Awaited
from inrush.client._unbuilt import refuse
from inrush.errors import InvalidError, TimeoutError, UnimplementedError
from inrush.wire import CancelCall, FindCall

R = TypeVar("R", covariant=True)
T = TypeVar("T")

AHEAD_RESULTS = 256
"""Results that `FunctionCall.iter` fetches before its caller takes them."""

KEPT_RESULTS = 1024
"""Results that one `FunctionCall` remembers, so that asking twice does not fetch twice."""


class FunctionCall(Suggests, Generic[R]):
    """A spawned call, returned by `Function.spawn`. Its results are kept on the server for 7 days (setting
    `result_ttl_s`)."""

    def __init__(self, object_id: str) -> None:
        self.object_id = object_id
        self._results: dict[int, Result] = {}

    def __repr__(self) -> str:
        return f"FunctionCall({self.object_id!r})"

    @staticmethod
    def from_id(function_call_id: str, client: Any = None) -> FunctionCall[Any]:
        """The call of this id (`ca-…`), from any process that uses the same server. The first question to it tells
        whether it exists."""
        refuse(client)
        if not _checks.is_text(function_call_id) or not function_call_id.startswith("ca-"):
            raise InvalidError(f"a call's id starts with ca-, not {function_call_id!r}")
        return FunctionCall(function_call_id)

    @dual
    async def get(self, timeout: float | None = None, *, index: int = 0) -> R:
        """The result of the input `index`; an exception that the input raised is raised here.

        It waits up to `timeout` seconds, without end by default; 0 only looks. Raises `TimeoutError` when there is no
        result by then, `OutputExpiredError` when the result was kept for its time and is gone, and `NotFoundError` for
        an unknown call.
        """
        _checks.count("get: index", index)
        timeout = _timeout(timeout)
        link = await current()
        if index not in self._results:
            if index:
                await self._need(link, index + 1)
            late = f"call {self.object_id} has no result within {timeout or 0:g} s"
            if timeout == 0 and not (await link.ask(FindCall(self.object_id)))["done"]:
                raise TimeoutError(late)
            deadline = None if timeout is None else time.monotonic() + (timeout or _LOOK_S)
            async with _Listener(link, self.object_id, range(index, index + 1)) as listener:
                async for found, result in listener.rows(deadline, late):
                    self._remember(found, result)
                    if found == index:
                        break
        value: R = await value_of(link, *self._results[index])
        return value

    @dual_iter
    async def iter(self, *, start: int = 0, end: int | None = None) -> AsyncGenerator[R, None]:
        """Results of a `spawn_map` in the order of its inputs, from `start` until before `end`, as they become
        available. Up to 256 of them are fetched ahead of the caller."""
        _checks.count("iter: start", start)
        link = await current()
        if end is not None:
            await self._need(link, _checks.count("iter: end", end))
        last = end if end is not None else await self._count(link)
        if start >= last:
            return
        held: dict[int, Result] = {}
        asked = min(last, start + AHEAD_RESULTS)
        async with _Listener(link, self.object_id, range(start, asked)) as listener:
            rows = listener.rows(None, "")
            for at in range(start, last):
                if asked < last and asked - at <= AHEAD_RESULTS // 2:
                    asked = min(last, at + AHEAD_RESULTS)
                    listener.want(range(at, asked))
                while at not in held:
                    index, result = await rows.__anext__()
                    if index >= at:
                        held[index] = result
                value: R = await value_of(link, *held.pop(at))
                yield value

    @dual
    async def num_inputs(self) -> int:
        """How many inputs the call has."""
        return await self._count(await current())

    @dual
    async def cancel(self, terminate_containers: bool = False) -> None:
        """Cancels what has not ended, and the calls that this call made; `get` raises `CancelledError` at once. A
        container whose input ignores the cancellation for 2 s is ended; with `terminate_containers` all that run it
        are, at once."""
        link = await current()
        await link.ask(FindCall(self.object_id))
        link.post(CancelCall(self.object_id, terminate_containers))

    @dual
    async def hydrate(self, client: Any = None) -> FunctionCall[R]:
        """Asks the server whether the call exists. Raises `NotFoundError` if it does not."""
        refuse(client)
        await self._count(await current())
        return self

    def get_call_graph(self) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError(
            "FunctionCall.get_call_graph is not built yet; `inrush app logs` shows what a call did"
        )

    async def _count(self, link: Link) -> int:
        return int((await link.ask(FindCall(self.object_id)))["inputs"])

    async def _need(self, link: Link, inputs: int) -> None:
        """Raises `InvalidError` where the call has fewer inputs: nobody would ever answer."""
        there = await self._count(link)
        if inputs > there:
            raise InvalidError(f"call {self.object_id} has {there} inputs, and no input {inputs - 1}")

    def _remember(self, index: int, result: Result) -> None:
        self._results[index] = result
        while len(self._results) > KEPT_RESULTS:
            del self._results[next(iter(self._results))]

    @staticmethod
    async def _gather(*function_calls: FunctionCall[T]) -> list[T]:
        """Results of several calls in the order given. Raises the first exception."""
        return [await call.get._function() for call in function_calls]

    gather = Dual(_gather)


def _timeout(given: float | None) -> float | None:
    """Seconds to wait; None for ever, which a year and more is."""
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not given >= 0:
        raise InvalidError(f"get: timeout is in seconds, 0 or more, or None to wait without end, not {given!r}")
    return None if given > _FOR_EVER_S else float(given)


_FOR_EVER_S = 366 * 86400.0

_LOOK_S = 0.5
"""How long a look without waiting allows for a result that the server has to arrive."""


class _Listener:
    """Receives results of some inputs of one durable call from the link."""

    def __init__(self, link: Link, call: str, wanted: range) -> None:
        self._link = link
        self._call = call
        self._wanted = wanted
        self._box: Mailbox[Chunk | BaseException] = Mailbox()
        self._awaited: Awaited | None = None

    async def __aenter__(self) -> _Listener:
        found = self._link.calls.get(self._call)
        self._awaited = found if isinstance(found, Awaited) else Awaited(self._call)
        self._awaited.want(self._box, self._wanted, self._wanted)
        self._link.open(self._awaited)
        return self

    def want(self, wanted: range) -> None:
        """Asks for a range of results. Those before the end of an earlier range are on their way already and are not
        asked for again."""
        assert self._awaited is not None
        more = range(max(wanted.start, self._wanted.stop), wanted.stop)
        self._wanted = wanted
        self._awaited.want(self._box, wanted, more)
        self._link.post(*self._awaited.start())

    async def __aexit__(self, *_: object) -> None:
        assert self._awaited is not None
        self._awaited.listeners.pop(self._box, None)
        if not self._awaited.listeners:
            self._link.close(self._awaited, at_once=True)

    async def rows(self, deadline: float | None, late: str) -> AsyncIterator[tuple[int, Result]]:
        """Indexes and results as they come. Raises `TimeoutError` at the deadline."""
        while True:
            try:
                chunk = await self._box.get(None if deadline is None else max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise TimeoutError(late) from None
            if isinstance(chunk, BaseException):
                raise chunk
            for index, status, payload in zip(*chunk, strict=True):
                yield index, Result(status, payload)
