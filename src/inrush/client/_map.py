"""Calls of many inputs: pulled from the caller's iterators, sent in chunks, results in order or as they come.

The caller's iterators are read by a thread of their own, since they may block, and no further than the server's window
allows. What has been read is sent by a second thread, which takes whatever is there, so that a slow iterator's inputs
leave at once and a fast one's in large chunks. Lists that fit into one chunk need neither.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from inrush.client import _output
from inrush.client._connection import Link
from inrush.client._dual import block, drive
from inrush.client._inflight import CHUNK_BYTES, CHUNK_INPUTS, Fan
from inrush.client._payload import dump_input, load, pack, value_of
from inrush.errors import InvalidError
from inrush.parts import Parts


class Rows(NamedTuple):
    """The inputs of a map: `each` gives their arguments, and `size` says how many there are, or -1 where nobody knows
    before they have been read."""

    each: Any
    size: int


Encode = Callable[[Sequence[Any]], bytes | Parts]


async def outputs(
    link: Link, fan: Fan, name: str, rows: Rows, kwargs: Mapping[str, Any], ordered: bool, keep_errors: bool
) -> AsyncGenerator[Any, None]:
    """Runs the map; yields values, or raises the first exception, unless they are kept as values. Leaving early
    cancels the rest."""
    fan.shared = link.shared
    link.open(fan)
    finished, output = False, _output.current()
    if output is not None:
        output.maps.begin(fan, name, rows.size)
    try:
        await _feed(link, fan, rows.each, lambda row: dump_input(name, row, kwargs))
        async for status, payload in _rows(fan, ordered):
            try:
                value = load(payload) if status == 0 and payload[:1] == b"P" else await value_of(link, status, payload)
            except Exception as error:
                if not keep_errors:
                    raise
                value = error
            yield value
        finished = True
    finally:
        fan.close()
        link.close(fan, at_once=not finished)
        if output is not None:
            output.maps.end(fan)


async def _rows(fan: Fan, ordered: bool) -> AsyncGenerator[tuple[int, bytes], None]:
    held: dict[int, tuple[int, bytes]] = {}
    delivered = 0
    while fan.total < 0 or delivered < fan.total:
        chunk = await fan.out.get()
        if chunk is None:
            continue
        if isinstance(chunk, BaseException):
            raise chunk
        rows = zip(chunk.statuses, chunk.payloads, strict=True)
        size = 0
        if ordered:
            held.update(zip(chunk.indexes, rows, strict=True))
            while (row := held.pop(delivered, None)) is not None:
                delivered += 1
                size += len(row[1])
                yield row
        else:
            for row in rows:
                delivered += 1
                size += len(row[1])
                yield row
        fan.took(delivered, size)


async def _feed(link: Link, fan: Fan, rows: Any, encode: Encode) -> None:
    if hasattr(rows, "__aiter__"):
        fan.reader = _task(_pull_async(fan, rows, encode))
    elif isinstance(rows, Sequence) and len(rows) <= CHUNK_INPUTS:
        await _send(link, fan, [encode(row) for row in rows], len(rows))
        if not rows:
            fan.end()
        return
    else:
        _thread("inrush-map-read", _pull, fan, iter(rows), encode)
    _thread("inrush-map-send", _push, link, fan)


def _task(coroutine: Coroutine[Any, Any, None]) -> object:
    import asyncio

    try:
        return asyncio.get_running_loop().create_task(coroutine)
    except RuntimeError:
        coroutine.close()
        raise InvalidError(
            "an async iterator of inputs needs the async face: `async for result in f.map.aio(inputs)`"
        ) from None


def _thread(name: str, run: Callable[..., None], *args: Any) -> None:
    threading.Thread(target=run, args=args, name=name, daemon=True).start()


def _pull(fan: Fan, rows: Iterator[Sequence[Any]], encode: Encode) -> None:
    """Reads the caller's iterators."""
    put, free = fan.read.put, fan.free
    try:
        for row in rows:
            put(encode(row))
            if free() <= 0:
                block(fan.room())
            if fan.closed:
                return
        put(None)
    except BaseException as error:  # raised where the results are awaited
        put(error)


async def _pull_async(fan: Fan, rows: AsyncIterator[Sequence[Any]], encode: Encode) -> None:
    """The same in the caller's loop, for async iterators."""
    try:
        async for row in rows:
            fan.read.put(encode(row))
            if fan.free() <= 0:
                await drive(fan.room())
            if fan.closed:
                return
        fan.read.put(None)
    except Exception as error:
        fan.read.put(error)
    except BaseException:
        fan.close()
        raise


def zipped(iterables: Sequence[Any]) -> Rows:
    """Rows of arguments, from one iterable a parameter; async where one of them is."""
    return Rows(_zipped(iterables), min(map(_size, iterables), default=-1))


def listed(rows: Any) -> Rows:
    """Rows of arguments as they were given."""
    return Rows(rows, _size(rows))


def _size(iterable: Any) -> int:
    try:
        return len(iterable)
    except Exception:  # an iterator has no length, and some types only pretend to have one
        return -1


def _zipped(iterables: Sequence[Any]) -> Any:
    if any(hasattr(iterable, "__aiter__") for iterable in iterables):
        return _zip_async(iterables)
    if all(isinstance(iterable, Sequence) for iterable in iterables):
        rows = zip(*iterables, strict=False)
        return list(rows) if iterables and len(iterables[0]) <= CHUNK_INPUTS else rows
    return zip(*iterables, strict=False)


async def _zip_async(iterables: Sequence[Any]) -> AsyncGenerator[tuple[Any, ...], None]:
    columns = [i if hasattr(i, "__aiter__") else _as_async(i) for i in iterables]
    streams = [column.__aiter__() for column in columns]
    while True:
        row = []
        for stream in streams:
            try:
                row.append(await stream.__anext__())
            except StopAsyncIteration:
                return
        yield tuple(row)


async def _as_async(iterable: Iterable[Any]) -> AsyncGenerator[Any, None]:
    for item in iterable:
        yield item


def _push(link: Link, fan: Fan) -> None:
    """Sends what was read."""
    try:
        while not fan.closed:
            taken = [block(fan.read.get()), *fan.read.take(CHUNK_INPUTS - 1)]
            payloads = [p for p in taken if isinstance(p, bytes | Parts)]
            block(_send(link, fan, payloads, -1))
            last = taken[-1]
            if last is None:
                link.post(*fan.end())
                return
            if isinstance(last, BaseException):
                fan.out.put(last)
                return
    except BaseException as error:
        fan.out.put(error)


async def _send(link: Link, fan: Fan, payloads: Sequence[bytes | Parts], total: int) -> None:
    packed = [await pack(link, payload) for payload in payloads]
    for chunk in _chunks(packed):
        link.post(*fan.more(chunk, total))


def _chunks(payloads: list[bytes]) -> Iterator[list[bytes]]:
    """Parts that fit into a message."""
    if sum(map(len, payloads)) <= CHUNK_BYTES:
        if payloads:
            yield payloads
        return
    chunk: list[bytes] = []
    size = 0
    for payload in payloads:
        if chunk and size + len(payload) > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(payload)
        size += len(payload)
    yield chunk
