"""Spawned calls at their limits: parts that nobody completes, a full queue, more waits than requests, a full disk."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from inrush import wire
from inrush.server.calls import durable as durable_module
from inrush.server.calls import unsaved
from inrush.server.links import sessions
from inrush.server.serve import Server
from inrush.wire import FunctionSpec, ScalePolicy, Status

from .peers import DEADLINE_S, Agent, Client

F = FunctionSpec(name="f", module="m", qualname="f", scale=ScalePolicy(max_inputs=64))
Opened = Callable[..., AbstractAsyncContextManager[Server]]


def socket_of(server: Server) -> Path:
    return server.home / "run" / "server.sock"


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def limit_pages(server: Server, most: list[int]) -> None:
    """SQLite says that the disk is full beyond `most[0]` pages, whichever connection is used."""

    def limit(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={most[0]}")

    sa.event.listen(server.store._engine, "checkout", limit)


async def test_a_spawned_map_whose_client_died_before_it_was_whole_is_ended(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "GRACE_S", 0.05)
    agent = Agent(server, lambda method, payload: payload)
    agent.hold = True
    function = (await client.start_app(F, detach=True))["functions"]["f"]
    other = await Client(socket_of(server), "cl-other").connect()
    other.send(wire.StartCall("ca-part", function, "spawn", "", (b"P1", b"P2"), 0, -1))
    other.send(wire.StartCall("ca-whole", function, "spawn", "", (b"P1",), 0, 1))
    await other.until(wire.Accepted)
    await until(lambda: agent.held)
    await other.close()
    await until(lambda: server.calls.get("ca-part") is None)
    assert len(server.durable) == 1
    assert server.loop.core.violations() == []
    agent.release()
    client.send(wire.AwaitCall("ca-whole"))
    assert await client.results("ca-whole", 1) == {0: (Status.OK, b"P1")}


async def test_a_part_of_a_spawned_map_that_a_restart_finds_is_ended_if_its_client_does_not_come_back(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as server:
        client = await Client(socket_of(server)).connect()
        spec = wire.AppSpec(name="app", functions=(F,))
        function = (await client.ask(wire.StartApp(spec, deploy=True)))["functions"]["f"]
        client.send(wire.StartCall("ca-part", function, "spawn", "", (b"P1", b"P2"), 0, 4))
        await client.ask(wire.HasBlobs(()))
        await server.store.flush()
    monkeypatch.setattr(durable_module, "ABANDONED_S", 0.05)
    async with opened() as server:
        await until(lambda: len(server.durable) == 0 and len(server.calls) == 0)


async def test_a_spawned_map_over_the_queue_is_refused_as_a_whole(opened: Opened) -> None:
    async with opened(max_queued_inputs=10) as server:
        client = await Client(socket_of(server)).connect()
        function = (await client.start_app(F))["functions"]["f"]
        client.send(
            wire.StartCall("ca-m", function, "spawn", "", (b"P",) * 8, 0, 12), wire.Inputs("ca-m", 8, (b"P",) * 4)
        )
        refused = await client.until(wire.CallRefused)
        assert "max_queued_inputs" in refused.message
        client.send(wire.ForgetCall("ca-m"))
        await until(lambda: len(server.durable) == 0)
        client.send(wire.StartCall("ca-n", function, "spawn", "", (b"P",) * 8, 0, 10))
        client.send(wire.StartCall("ca-n", function, "spawn", "", (b"P",) * 8, 0, 10))
        client.send(wire.Inputs("ca-n", 8, (b"P",) * 2))
        assert (await client.until(wire.Accepted)).call == "ca-n"


async def test_more_waits_than_requests_are_answered_one_after_the_other(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_ASKS", 4)
    Agent(server, lambda method, payload: payload)
    function = (await client.start_app(F))["functions"]["f"]
    ids = [f"ca-{number}" for number in range(40)]
    client.send(*[wire.StartCall(id, function, "spawn", "", (b"P",), 0, 1) for id in ids])
    await until(lambda: len(server.durable) == 0)
    client.send(*[wire.AwaitCall(id) for id in ids])
    assert await client.ask(wire.HasBlobs(())) == []
    for id in ids:
        assert await client.results(id, 1) == {0: (Status.OK, b"P")}


async def test_results_that_a_full_disk_does_not_take_are_told_once_and_saved_when_there_is_room(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unsaved, "RETRY_S", 0.02)
    agent = Agent(server, lambda method, payload: b"P" * 200_000)
    agent.hold = True
    function = (await client.start_app(F))["functions"]["f"]
    ids = [f"ca-{number}" for number in range(20)]
    client.send(*[wire.StartCall(id, function, "spawn", "", (b"P",), 0, 1) for id in ids])
    for _ in ids:
        await client.until(wire.Accepted)
    await until(lambda: sum(len(run.indexes) for run in agent.held) == len(ids))
    pages = [1]
    limit_pages(server, pages)
    with caplog.at_level(logging.INFO):
        agent.release()
        await until(lambda: "cannot be saved" in caplog.text)
        await asyncio.sleep(10 * unsaved.RETRY_S)
        assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1
        pages[0] = 1_000_000
        client.send(*[wire.AwaitCall(id) for id in ids])
        for id in ids:
            assert len((await client.results(id, 1))[0][1]) == 200_000
        await until(lambda: "can be saved again" in caplog.text)
