"""Dicts: named, durable, atomic."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from inrush import wire
from inrush.server.dicts import dicts as module
from inrush.wire import DictOp

from .peers import Client


async def test_a_dict_does_what_dicts_do(client: Client) -> None:
    assert (await client.ask(wire.OpenDict("d"))).code == "NotFoundError"
    id = await client.ask(wire.OpenDict("d", create=True))
    assert id == await client.ask(wire.OpenDict("d"))

    async def op(name: str, *keys: bytes, **more: Any) -> Any:
        return await client.ask(DictOp(id, name, keys, **more))

    assert await op("put", pairs=((b"a", b"1"), (b"b", b"2"))) is True
    assert [await op("get", b"a"), await op("get", b"z"), await op("contains", b"b"), await op("len")] == [
        b"1",
        None,
        True,
        2,
    ]
    assert await op("put", pairs=((b"a", b"other"),), if_absent=True) is False
    assert await op("put", pairs=((b"c", b"3"),), if_absent=True) is True
    assert [await op("pop", b"a"), await op("pop", b"a"), await op("len")] == [b"1", None, 2]
    assert await op("items") == {"pairs": [[b"b", b"2"], [b"c", b"3"]], "next": None}
    assert await op("clear") is None
    assert await op("len") == 0
    assert (await op("explode")).code == "InvalidError"
    assert (await op("get")).code == "InvalidError"
    assert await client.ask(wire.DeleteDict("d")) is None
    assert (await op("get", b"a")).code == "NotFoundError"


async def test_one_of_many_who_put_if_absent_at_once_wins(client: Client) -> None:
    id = await client.ask(wire.OpenDict("d", create=True))
    tries = [client.ask(DictOp(id, "put", pairs=((b"k", b"%d" % i),), if_absent=True)) for i in range(20)]
    assert sum(await asyncio.gather(*tries)) == 1


async def test_a_large_dict_comes_in_pages(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_ITEMS", 10)
    id = await client.ask(wire.OpenDict("d", create=True))
    pairs = tuple((b"%03d" % i, b"v") for i in range(25))
    await client.ask(DictOp(id, "put", pairs=pairs))
    got, cursor = [], ()
    while True:
        page = await client.ask(DictOp(id, "items", cursor))
        got += page["pairs"]
        if page["next"] is None:
            break
        cursor = (page["next"],)
    assert [tuple(pair) for pair in got] == list(pairs)


async def test_a_value_that_is_too_large_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_VALUE_BYTES", 10)
    id = await client.ask(wire.OpenDict("d", create=True))
    assert (await client.ask(DictOp(id, "put", pairs=((b"k", b"x" * 11),)))).code == "RequestSizeError"
