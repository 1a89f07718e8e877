"""Whoever has a token of few rights, or for one environment, costs the server no more than a part that is bounded."""

from __future__ import annotations

import pytest

from inrush import wire
from inrush.server.apps import apps
from inrush.server.links import session
from inrush.server.serve import Server
from inrush.server.things import secrets
from inrush.wire import AppSpec, FunctionSpec
from server.conftest import client, home, opened, server
from server.peers import Agent, Client
from server.test_tokens import Far, token

__all__ = ["client", "home", "opened", "server"]  # fixtures

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
