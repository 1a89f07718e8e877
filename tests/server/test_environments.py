"""Environments: nothing of one can be reached from another."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from inrush import wire
from inrush.errors import InvalidError, NotFoundError
from inrush.server.apps.endpoints import LABEL_CHARACTERS, sanitise
from inrush.server.calls import saved
from inrush.server.serve import Server
from inrush.server.trust.principal import OWNER, Scope, in_container, owns_call
from inrush.wire import AppSpec, FunctionSpec, ScalePolicy, Web

from .peers import Agent, Client

Opened = Callable[..., contextlib.AbstractAsyncContextManager[Server]]
F = FunctionSpec(name="f", module="m", qualname="f", scale=ScalePolicy(min_containers=1))


async def test_a_node_is_told_the_environment_of_what_it_runs(server: Server, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload)
    await server.environments.create("prod")
    await client.ask(wire.StartApp(AppSpec(name="app", functions=(F,))))
    await client.ask(wire.StartApp(AppSpec(name="app", functions=(F,), environment="prod")))
    await client.wait(lambda: len(agent.containers) == 2)
    key = server.environments.key("prod")
    assert {(c.app, c.environment, c.app_key) for c in agent.containers.values()} == {
        ("app", "main", "app"),
        ("app", key, f"{key}/app"),
    }
    assert {order.app_key for order in agent.got(wire.Prepare)} == {"app", f"{key}/app"}


async def test_an_environment_that_is_made_again_finds_nothing_of_the_one_before(
    server: Server, client: Client, opened: Opened
) -> None:
    agent = Agent(server, lambda method, payload: payload)
    recipe, keys = wire.Recipe(steps=(wire.Step("run", ("true",), secrets=("K",)),)), []
    agent.on[wire.Build] = lambda order: [wire.Built(order.build, "im-1", "3.11")]
    for _ in range(2):
        await server.environments.create("prod")
        app = await client.ask(wire.StartApp(AppSpec(name="app", functions=(F,)), True, environment="prod"))
        await client.wait(lambda: agent.containers)
        with pytest.raises(NotFoundError):
            server.secrets.find("se", "prod")
        assert await server.dicts.all("prod") == []
        secret = await client.ask(wire.PutSecret((("K", "v"),), "se", environment="prod"))
        await client.ask(wire.OpenDict("di", True, "prod"))
        built = await client.ask(wire.BuildImage(recipe, "app", (secret,), environment="prod"))
        orders = [agent.got(kind)[-1] for kind in (wire.Prepare, wire.StartContainer, wire.Build)]
        assert {wire.environment_name(order.environment) for order in orders} == {"prod"}
        keys.append({app["app"], secret, *built["keys"], *(order.app_key for order in orders)})
        await server.delete_environment("prod")
        await client.wait(lambda: not agent.containers)
    assert len(keys[0]) == 4
    assert not keys[0] & keys[1]


async def test_what_is_asked_for_while_its_environment_is_deleted_does_not_stay(server: Server, client: Client) -> None:
    Agent(server, lambda method, payload: payload)
    await server.environments.create("prod")
    asks = [
        client.ask(wire.StartApp(AppSpec(name=f"app-{n}", functions=(F,)), True, environment="prod")) for n in range(8)
    ]
    asks += [client.ask(wire.PutSecret((("K", "v"),), f"se-{n}", environment="prod")) for n in range(8)]
    asks += [client.ask(wire.OpenDict(f"di-{n}", True, "prod")) for n in range(8)]
    asked = [asyncio.ensure_future(ask) for ask in asks]
    await client.wait(lambda: any(task.done() for task in asked) or server.apps.running())
    await server.delete_environment("prod")
    await asyncio.gather(*asked)
    await server.environments.create("prod")
    assert [app for app in server.apps.running() if app.environment == "prod"] == []
    assert server.secrets.named("prod") == []
    assert await server.dicts.all("prod") == []


async def test_two_environments_have_the_same_names(server: Server, client: Client) -> None:
    Agent(server, lambda method, payload: payload)
    await server.environments.create("prod")
    ids = {}
    for environment in ("main", "prod"):
        app = await client.ask(wire.StartApp(AppSpec(name="app", functions=(WEB,)), True, environment=environment))
        secret = await client.ask(wire.PutSecret((("K", environment),), "se", environment=environment))
        anonymous = await client.ask(wire.PutSecret((("K", "same"),), environment=environment))
        made = await client.ask(wire.OpenDict("di", True, environment))
        ids[environment] = {app["app"], app["functions"]["w"], app["urls"]["w"], secret, anonymous, made}
    assert not ids["main"] & ids["prod"]
    assert {e.label for e in server.endpoints.all()} == {"app-w", "prod--app-w"}
    await client.ask(wire.StopApp("app", "prod"))
    assert [app.environment for app in server.apps.running()] == ["main"]


WEB = FunctionSpec(name="w", module="m", qualname="w", web=(("", Web(kind="asgi")),))


async def test_no_label_is_another_environments(server: Server, client: Client) -> None:
    Agent(server, lambda method, payload: payload)
    await server.environments.create("prod")
    own = FunctionSpec(name="w", module="m", qualname="w", web=(("", Web(kind="asgi", label="prod--app-w")),))
    await client.ask(wire.StartApp(AppSpec(name="app", functions=(WEB,), environment="prod"), True))
    await client.ask(wire.StartApp(AppSpec(name="prod--app", functions=(WEB,)), True))
    await client.ask(wire.StartApp(AppSpec(name="other", functions=(own,)), True))
    taken = server.endpoints.get("prod--app-w")
    assert taken is not None
    assert server.apps.find(taken.app, Scope(OWNER, "main")).environment == "prod"
    assert len(sanitise("w" * 100, "p" * 32)) == LABEL_CHARACTERS


@pytest.mark.parametrize("name", ["", "Prod", "a--b", "-a", "a-", "a/b", "a.b", "a" * 33, "xn", "inrush", "ä", "a\n"])
async def test_names_of_environments_are_checked(server: Server, name: str) -> None:
    with pytest.raises(InvalidError):
        await server.environments.create(name)


@pytest.mark.parametrize("name", ["prod/app", "", "a\nb", "a" * 129])
async def test_names_of_apps_are_checked(server: Server, client: Client, name: str) -> None:
    refused = await client.ask(wire.StartApp(AppSpec(name=name)))
    assert isinstance(refused, wire.Refused)
    assert refused.code == "InvalidError"


async def test_a_deleted_environment_leaves_nothing(server: Server, client: Client) -> None:
    Agent(server, lambda method, payload: payload)
    await server.environments.create("prod")
    await client.ask(wire.PutSecret((("K", "v"),), "se", environment="prod"))
    await client.ask(wire.OpenDict("di", True, "prod"))
    await server.tokens.create(OWNER, "t", ("call",), "prod", 0.0)
    app = await client.ask(wire.StartApp(AppSpec(name="app", functions=(F,)), True, environment="prod"))
    client.send(wire.StartCall("ca-1", app["functions"]["f"], "spawn", payloads=(b"P1",)))
    await client.until(wire.Accepted)
    await server.delete_environment("prod")
    assert (server.apps.running(), server.apps.ended(), server.tokens.all()) == ([], [], [])
    await server.environments.create("prod")
    for ask in (wire.FindSecret("se", environment="prod"), wire.OpenDict("di", environment="prod")):
        assert (await client.ask(ask)).code == "NotFoundError"
    assert (await client.ask(wire.FindCall("ca-1"))).code == "NotFoundError"
    with pytest.raises(InvalidError, match="main"):
        await server.delete_environment("main")


async def test_an_older_home_is_all_of_main(home: Path, opened: Opened) -> None:
    with sqlite3.connect(home / "store.db") as database:
        database.executescript((Path(__file__).parent / "samples" / "store_before_environments.sql").read_text())
    async with opened() as server:
        Agent(server, lambda method, payload: payload)
        client = await Client(home / "run" / "server.sock").connect()
        (app,) = server.apps.running()
        assert (app.name, app.environment) == ("app", "main")
        assert (await client.ask(wire.FindFunction("app", "f")))["function"] == app.functions["f"]
        made = await client.ask(wire.OpenDict("di"))
        assert await client.ask(wire.DictOp(made, "get", (b"k",))) == b"Pv"
        assert (await client.ask(wire.FindCall("ca-done")))["done"] == 1
        assert owns(server, "ca-done", "app")
        assert not owns(server, "ca-done", "other")
        await server.environments.create("prod")
        assert await client.ask(wire.OpenDict("di", True, "prod")) != made
        await client.close()
    async with opened() as server:
        assert [app.name for app in server.apps.running()] == ["app"]


def owns(server: Server, call: str, app: str) -> bool:
    """Whether code of an app owns a saved call."""
    row = server.store.read_now(partial(saved.call_of, id=call))
    return owns_call(in_container("co-1", "main", app, False), row.environment, row.app, row.caller)


async def test_a_session_ends_with_the_environment_it_was_in(server: Server, client: Client) -> None:
    """A client that is outside is told, and may go on elsewhere."""
    await server.environments.create("prod")
    there = await Client(server.home / "run" / "server.sock", "cl-there").connect(environment="prod")
    await there.ask(wire.OpenDict("di", True))
    assert await names(there) == ["di"]
    await server.delete_environment("prod")
    assert (await there.ask(wire.OpenDict("di", True))).code == "NotFoundError"
    await there.close()


async def names(client: Client) -> list[str]:
    return [told["name"] for told in await client.ask(wire.ListDicts())]
