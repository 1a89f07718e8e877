"""What `.remote`, `.map`, `.spawn` and their like do. Loaded with the first call: a program that only declares
functions needs neither payloads nor connections.

`function` is the one called, and `target` where its calls go.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from inrush.client import _output, context
from inrush.client._arguments import check
from inrush.client._inflight import CHUNK_BYTES, CHUNK_INPUTS, Fan, One, Result, Stream
from inrush.client._link import current, new_call
from inrush.client._map import Rows, outputs
from inrush.client._payload import dump_input, pack, value_of
from inrush.client._spawned import Spawn
from inrush.client.call import FunctionCall
from inrush.errors import InvalidError
from inrush.wire import Grant, Inputs, StartCall

if TYPE_CHECKING:
    from inrush.client._connection import Link
    from inrush.client._types import Called

Args = Sequence[Any]
Kwargs = Mapping[str, Any]

ITEMS_AHEAD = 64
"""Items that a generator may yield before its caller has taken them."""


async def remote(function: Called, args: Args, kwargs: Kwargs) -> Any:
    """Sends one input and returns its result."""
    link = await current()
    call = One(await _start(link, function, "remote", args, kwargs))
    finished = False
    try:
        link.open(call)
        result = await call.result
        finished = True
        return await value_of(link, *result)
    finally:
        link.close(call, at_once=not finished)


async def stream(function: Called, args: Args, kwargs: Kwargs) -> AsyncGenerator[Any, None]:
    """Sends one input and yields its items."""
    link = await current()
    call = Stream(await _start(link, function, "gen", args, kwargs))
    finished, taken = False, 0
    try:
        link.open(call)
        link.post(Grant(call.call, ITEMS_AHEAD))
        while not isinstance(item := await call.out.get(), Result):
            if not isinstance(item, bytes):
                raise item
            yield await value_of(link, 0, item)
            taken += 1
            if taken % (ITEMS_AHEAD // 2) == 0:
                link.post(Grant(call.call, ITEMS_AHEAD // 2))
        finished = True
        await value_of(link, *item)
    finally:
        link.close(call, at_once=not finished)


async def fan(
    function: Called, rows: Rows, kwargs: Kwargs | None, ordered: bool, keep_errors: bool
) -> AsyncGenerator[Any, None]:
    """Sends many inputs, each a row of arguments, and yields their results."""
    link = await current()
    target = await function.target(link)
    call = Fan(new_call(), target.function, target.method, _parent(), _watched(function))
    async with aclosing(outputs(link, call, function.name, rows, kwargs or {}, ordered, keep_errors)) as values:
        async for value in values:
            yield value


async def spawn(function: Called, args: Args, kwargs: Kwargs) -> FunctionCall[Any]:
    """Sends one input, which the server owns when this returns."""
    link = await current()
    start = await _start(link, function, "spawn", args, kwargs)
    await _commit(link, Spawn(start))
    return FunctionCall(start.call)


async def spawn_many(function: Called, iterators: Sequence[Iterable[Any]], kwargs: Kwargs) -> FunctionCall[Any]:
    """Sends many inputs as one call, which the server owns when this returns."""
    link = await current()
    target = await function.target(link)
    rows = [
        await pack(link, dump_input(function.name, row, kwargs), lasting=True) for row in zip(*iterators, strict=False)
    ]
    if not rows:
        raise InvalidError(f"{function.name}.spawn_map was given no inputs")
    chunks = list(_message_chunks(rows))
    call = new_call()
    start = StartCall(
        call, target.function, "spawn", target.method, chunks[0], 0, len(rows), _parent(), _watched(function)
    )
    more, at = [], len(chunks[0])
    for chunk in chunks[1:]:
        more.append(Inputs(call, at, chunk))
        at += len(chunk)
    await _commit(link, Spawn(start, more))
    return FunctionCall(call)


async def _start(link: Link, function: Called, kind: str, args: Args, kwargs: Kwargs) -> StartCall:
    check(function.name, function.takes, args, kwargs)
    target = await function.target(link)
    payload = await pack(link, dump_input(function.name, args, kwargs), lasting=kind == "spawn")
    watched = _watched(function)
    return StartCall(new_call(), target.function, kind, target.method, (payload,), 0, 1, _parent(), watched)


def _watched(function: Called) -> bool:
    """Whether its retries are shown here. Those of an app that this program runs are told with its other changes."""
    return _output.current() is not None and function.reference.foreign


async def _commit(link: Link, spawn: Spawn) -> None:
    link.open(spawn)
    try:
        await spawn.committed
    finally:
        link.calls.pop(spawn.call, None)


def _parent() -> str:
    return context.current_function_call_id() or ""


def _message_chunks(payloads: Sequence[bytes]) -> Iterable[tuple[bytes, ...]]:
    first = size = 0
    for at, payload in enumerate(payloads):
        if at > first and (size + len(payload) > CHUNK_BYTES or at - first >= CHUNK_INPUTS * 16):
            yield tuple(payloads[first:at])
            first, size = at, 0
        size += len(payload)
    yield tuple(payloads[first:])
