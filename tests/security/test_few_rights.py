"""The holder of a token with few rights, or for one environment, can use only a bounded share of the server."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.asyncio.client import connect

from inrush import wire
from inrush.server.apps import apps
from inrush.server.calls import table
from inrush.server.links import session, websocket
from inrush.server.secrets import secrets
from inrush.server.serve import Server
from inrush.server.shares import Shares
from inrush.wire import AppSpec, FunctionSpec
from server.conftest import client, home, opened, server
from server.peers import Agent, Client
from server.test_tokens import Far, token

__all__ = ["client", "home", "opened", "server"]  # fixtures

MIB = 1024 * 1024
F = FunctionSpec(name="f", module="m", qualname="f")


async def test_a_client_follows_so_many_things_and_each_request_follows_one(server: Server, client: Client) -> None:
    Agent(server, lambda method, payload: payload)
    app = await client.ask(wire.StartApp(AppSpec(name="app", functions=(F,)), True))
    followers = server.logs._log(app["app"])._followers
    async with Far(server, await token(server, "read")) as far:
        for _ in range(3):
            await far.send(wire.Ask(1, wire.FollowLogs("app")))
            await far.next()
        assert len(followers) == 1
        for _ in range(session.MAX_FOLLOWS + 10):
            told = await far.ask(wire.FollowLogs("app"))
            states = await far.ask(wire.FollowStates("app"))
        assert {told.code, states.code} == {"ResourceExhaustedError"}
        assert len(followers) <= session.MAX_FOLLOWS
        for rid in range(1, 2 * session.MAX_FOLLOWS):
            await far.send(wire.Unfollow(rid))
        await client.wait(lambda: not followers)


async def test_an_environment_has_so_many_secrets(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "MAX_SECRETS", 2)
    await server.environments.create("other")
    same = wire.PutSecret((("K", "anonymous"),))
    await client.ask(same)
    await client.ask(wire.PutSecret((("K", "v"),), "named"))
    refused = await client.ask(wire.PutSecret((("K", "more"),)))
    assert isinstance(refused, wire.Refused)
    assert refused.code == "ResourceExhaustedError"
    assert await client.ask(same)
    assert await client.ask(wire.PutSecret((("K", "new"),), "named"))
    assert await client.ask(wire.PutSecret((("K", "v"),), environment="other"))


async def test_an_environment_has_so_many_apps(server: Server, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    Agent(server, lambda method, payload: payload)
    monkeypatch.setattr(apps, "MAX_APPS", 2)
    await server.environments.create("other")
    deployed = wire.StartApp(AppSpec(name="app", functions=(F,)), True)
    await client.ask(deployed)
    await client.ask(wire.StartApp(AppSpec(name="app", functions=(F,))))
    for refused in (wire.StartApp(AppSpec(name="app")), wire.StartApp(AppSpec(name="new"), True)):
        answer = await client.ask(refused)
        assert isinstance(answer, wire.Refused)
        assert answer.code == "ResourceExhaustedError"
    assert await client.ask(deployed)
    assert await client.ask(wire.StartApp(AppSpec(name="app"), environment="other"))


async def test_who_reads_nothing_of_what_they_ask_for_is_cut_off(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "MAX_UNREAD_BYTES", 16 * MIB)
    unread = server._http.config.app._unread  # type: ignore[union-attr]
    text = await token(server, "call")
    async with Far(server, text) as far:
        blob = await far.ask(wire.PutBlob(bytes(4 * MIB)))
    address = f"ws{server.endpoints.base.removeprefix('http')}/link"
    async with connect(address, proxy=None, max_size=None, max_queue=1) as silent:
        await silent.send(wire.encode([wire.Hello("cl-silent", text)]))
        await silent.recv()
        for rid in range(60):
            await silent.send(wire.encode([wire.Ask(rid, wire.GetBlob(blob, 0, 4 * MIB))]))
        await client.wait(lambda: server.sessions._clients["cl-silent"].link is None)
        await client.wait(lambda: unread._total == 0)


async def test_of_many_who_read_nothing_the_one_with_most_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MAX_ALL_UNREAD_BYTES", 10_000)
    unread = websocket.Unread()
    greedy, modest = websocket.WebSocketLink(unread), websocket.WebSocketLink(unread)
    modest.send(wire.Answer(1, bytes(2000)))
    greedy.send(wire.Answer(1, bytes(7000)))
    assert not greedy.was_cut
    modest.send(wire.Answer(2, bytes(2000)))
    assert (greedy.was_cut, modest.was_cut) == (True, False)
    assert unread._total == 4000 + 2 * websocket.MESSAGE_BYTES


async def test_requests_in_flight_are_bounded_for_the_tokens_of_an_environment(server: Server) -> None:
    server._asked_by_tokens = Shares(8 * MIB, "bytes of requests")
    async with Far(server, await token(server, "call")) as far:
        await far.send(*[wire.Ask(100 + n, wire.PutBlob(bytes(MIB))) for n in range(8)])
        answers = [await far.next() for _ in range(8)]
        refused = [answer.code for answer in answers if isinstance(answer, wire.Refused)]
        assert refused == ["ResourceExhaustedError"] * 5
        assert await far.ask(wire.PutBlob(bytes(MIB)))


async def until(far: Far, kind: type) -> Any:
    """The next message of this kind."""
    while not isinstance(told := await far.next(), kind):
        continue
    return told


async def test_what_waits_is_bounded_for_the_tokens_of_an_environment(server: Server, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload)
    agent.hold = True
    app = await client.ask(wire.StartApp(AppSpec(name="app", functions=(F,)), True))
    function = app["functions"]["f"]
    server.calls._held_for_tokens = Shares(4 * MIB, "bytes")
    async with Far(server, await token(server, "call")) as far:
        gap = table.MAX_GAP_INPUTS
        for first in (1, gap):
            call = f"ca-{first}"
            await far.send(wire.StartCall(call, function, "map", payloads=(b"P",), total=-1))
            await until(far, wire.Accepted)
            for n in range(first, first + 12):
                await far.send(wire.Inputs(call, n, (b"P" + bytes(250 * 1024),)))
            assert (await until(far, wire.CallRefused)).code == "ResourceExhaustedError"
    client.send(wire.StartCall("ca-own", function, payloads=(b"P",)))
    await client.wait(lambda: server.calls.get("ca-own"))


async def test_a_call_that_is_under_way_fills_no_memory_either(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(server, lambda method, payload: payload)
    agent.hold = True
    app = await client.ask(wire.StartApp(AppSpec(name="app", functions=(F,)), True))
    monkeypatch.setattr(table, "HELD_MOST_BYTES", MIB)
    client.send(wire.StartCall("ca-1", app["functions"]["f"], "map", payloads=(b"P",), total=-1))
    for n in range(1, 12):
        client.send(wire.Inputs("ca-1", n, (b"P" + bytes(250 * 1024),)))
    assert (await client.until(wire.CallRefused)).code == "ResourceExhaustedError"
    assert server.calls._held < 2 * MIB
