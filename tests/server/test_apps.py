"""Apps: redeployed, two of one name at once, and ended with their client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from inrush import wire
from inrush.errors import InvalidError
from inrush.server.links import sessions
from inrush.server.rows import tables
from inrush.server.serve import Server
from inrush.server.trust.principal import OWNER, Scope
from inrush.wire import FunctionSpec, Gpu, GpuRequest, Parameter, Resources, ScalePolicy, Status, Web

from .peers import Agent, Client

F = FunctionSpec(name="f", module="m", qualname="f")
Opened = Callable[..., contextlib.AbstractAsyncContextManager[Server]]

OWN = Scope(OWNER, "main")


def echo(method: str, payload: bytes) -> bytes:
    return payload


async def test_an_unchanged_redeploy_keeps_ids_and_warm_containers(server: Server, client: Client) -> None:
    agent = Agent(server, echo)
    first = await client.start_app(F, deploy=True)
    client.send(wire.StartCall("ca-1", first["functions"]["f"], payloads=(b"P",)))
    await client.results("ca-1", 1)
    second = await client.start_app(F, deploy=True)
    assert (first["app"], first["functions"]) == (second["app"], second["functions"])
    assert first["version"] != second["version"]
    client.send(wire.StartCall("ca-2", second["functions"]["f"], payloads=(b"P",)))
    await client.results("ca-2", 1)
    assert len(agent.got(wire.StartContainer)) == 1


async def test_new_policies_keep_the_function_and_new_code_replaces_it(server: Server, client: Client) -> None:
    Agent(server, echo)
    first = await client.start_app(F, deploy=True)
    wider = msgspec.structs.replace(F, scale=ScalePolicy(max_containers=3))
    assert (await client.start_app(wider, deploy=True))["functions"] == first["functions"]
    changed = msgspec.structs.replace(F, timeout_s=5.0)
    second = await client.start_app(changed, deploy=True)
    assert second["functions"] != first["functions"]
    client.send(wire.StartCall("ca-old", first["functions"]["f"], payloads=(b"P",)))
    assert (await client.results("ca-old", 1))[0][0] == Status.OK, "an old id reaches the new code"


async def test_queued_inputs_move_to_the_new_version(server: Server, client: Client) -> None:
    first = await client.start_app(F, deploy=True)
    client.send(wire.StartCall("ca-1", first["functions"]["f"], payloads=(b"P",)))
    await client.start_app(msgspec.structs.replace(F, timeout_s=5.0), deploy=True)
    agent = Agent(server, echo)
    await client.results("ca-1", 1)
    assert [start.spec.timeout_s for start in agent.got(wire.StartContainer)] == [5.0]


async def test_two_deploys_at_once_leave_one_whole_version(server: Server, client: Client) -> None:
    names = [tuple(f"{letter}{i}" for i in range(5)) for letter in "ab"]
    specs = [tuple(FunctionSpec(name=n, module="m", qualname=n) for n in group) for group in names]
    done = await asyncio.gather(*[client.start_app(*group, deploy=True) for group in specs])
    assert done[0]["app"] == done[1]["app"]
    app = server.apps.find("app", OWN)
    assert tuple(sorted(app.functions)) in names
    assert sorted(f.name for f in server.functions.all()) == sorted(app.functions)


async def test_deployed_apps_are_there_after_a_restart(opened: Opened) -> None:
    async with opened() as server:
        client = await Client(server.home / "run" / "server.sock").connect()
        before = await client.start_app(msgspec.structs.replace(F, web=(("", Web(kind="asgi")),)), deploy=True)
    async with opened() as server:
        Agent(server, echo)
        client = await Client(server.home / "run" / "server.sock").connect()
        found = await client.ask(wire.FindFunction("app", "f"))
        assert found["function"] == before["functions"]["f"]
        assert server.apps.find("app", OWN).urls == (before["urls"], before["pages"])
        client.send(wire.StartCall("ca-1", found["function"], payloads=(b"P",)))
        await client.results("ca-1", 1)
        await client.close()


async def test_an_ephemeral_app_ends_with_its_client(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "GRACE_S", 0.1)
    agent = Agent(server, echo)
    path = server.home / "run" / "server.sock"
    client, watcher = await Client(path).connect(), await Client(path, "cl-watch").connect()
    app = await client.start_app(msgspec.structs.replace(F, scale=ScalePolicy(min_containers=1)))
    await watcher.start_app(FunctionSpec(name="g", module="m", qualname="g"), name="other", detach=True)
    await client.wait(lambda: agent.containers)
    await client.close()
    await watcher.wait(lambda: not agent.containers)
    assert [a.name for a in server.apps.running()] == ["other"]
    watcher.send(wire.StartCall("ca-1", app["functions"]["f"], payloads=(b"P",)))
    assert (await watcher.until(wire.CallRefused)).code == "NotFoundError"
    await watcher.close()


async def test_a_gpu_that_no_node_has_is_refused_with_the_line_that_declares_one(
    server: Server, client: Client
) -> None:
    Agent(server, echo, gpus=(Gpu(type="A100", index=0, declared=True),))
    wants = msgspec.structs.replace(F, resources=Resources(gpu=(GpuRequest(type="H100", count=2),)))
    refused = await client.ask(wire.StartApp(wire.AppSpec(name="app", functions=(wants,))))
    assert refused.code == "InvalidError"
    assert "H100" in refused.message
    assert "A100" in refused.message
    assert 'gpus = "H100:8"' in refused.message


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (wire.AppSpec(name=""), "InvalidError"),
        (wire.AppSpec(name="a", functions=(F, F)), "InvalidError"),
        (wire.AppSpec(name="a", functions=(FunctionSpec(name="f", source="sha256-" + "0" * 64),)), "NotFoundError"),
        (wire.AppSpec(name="a", functions=(FunctionSpec(name="f", secrets=("se-gone",)),)), "NotFoundError"),
    ],
)
async def test_an_app_that_cannot_be_is_refused_whole(client: Client, spec: wire.AppSpec, code: str) -> None:
    assert (await client.ask(wire.StartApp(spec))).code == code
    assert (await client.ask(wire.StopApp(spec.name or "x"))).code == "NotFoundError"


async def test_a_class_has_one_pool_for_each_parameter_set(server: Server, client: Client) -> None:
    agent = Agent(server, echo)
    spec = FunctionSpec(name="C", is_class=True, parameters=(Parameter(name="size", type="int"),))
    base = (await client.start_app(spec))["functions"]["C"]
    one = await client.ask(wire.BindClass(base, b'{"size": 1}'))
    assert one == await client.ask(wire.BindClass(base, b'{"size":1}'))
    assert one != await client.ask(wire.BindClass(base, b'{"size":2}'))
    assert base == await client.ask(wire.BindClass(base, b"{}"))
    assert (await client.ask(wire.BindClass(base, b'{"other":2}'))).code == "InvalidError"
    client.send(wire.StartCall("ca-1", one, method="run", payloads=(b"P",)))
    await client.results("ca-1", 1)
    assert [start.parameters for start in agent.got(wire.StartContainer)] == [b'{"size":1}']


async def test_a_pool_outlives_a_restart_and_a_redeploy(opened: Opened) -> None:
    spec = FunctionSpec(name="C", is_class=True, parameters=(Parameter(name="size", type="int"),))
    async with opened() as server:
        client = await Client(server.home / "run" / "server.sock").connect()
        base = (await client.start_app(spec, deploy=True))["functions"]["C"]
        pool = await client.ask(wire.BindClass(base, b'{"size":1}'))
        client.send(wire.StartCall("ca-s", pool, "spawn", payloads=(b"P",)))
        await client.until(wire.Accepted)
    async with opened() as server:
        client = await Client(server.home / "run" / "server.sock").connect()
        await client.start_app(msgspec.structs.replace(spec, timeout_s=7.0), deploy=True)
        agent = Agent(server, echo)
        client.send(wire.AwaitCall("ca-s"))
        await client.results("ca-s", 1)
        starts = agent.got(wire.StartContainer)
        assert [(start.parameters, start.spec.timeout_s) for start in starts] == [(b'{"size":1}', 7.0)]
        await client.close()


async def test_secrets_reach_containers_and_nobody_else(server: Server, client: Client, home: Path) -> None:
    agent = Agent(server, echo)
    id = await client.ask(wire.PutSecret((("KEY", "hunter2-value"),), "mine"))
    assert id == await client.ask(wire.FindSecret("mine", ("KEY",)))
    assert (await client.ask(wire.FindSecret("mine", ("OTHER",)))).code == "NotFoundError"
    spec = msgspec.structs.replace(F, secrets=(id,), env=(("A", "1"),))
    client.send(wire.StartCall("ca-1", (await client.start_app(spec, deploy=True))["functions"]["f"], payloads=(b"P",)))
    await client.results("ca-1", 1)
    assert dict(agent.got(wire.StartContainer)[0].env) == {"KEY": "hunter2-value", "A": "1"}
    await server.store.flush()
    written = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"hunter2-value" not in written
    assert (home / "key").stat().st_mode & 0o777 == 0o600


async def test_an_anonymous_secret_goes_with_its_app(server: Server, client: Client) -> None:
    id = await client.ask(wire.PutSecret((("KEY", "v"),)))
    assert id == await client.ask(wire.PutSecret((("KEY", "v"),))), "the same content is the same secret"
    app = await client.start_app(msgspec.structs.replace(F, secrets=(id,)))
    await client.ask(wire.StopApp(app["app"]))
    refused = await client.ask(
        wire.StartApp(wire.AppSpec(name="b", functions=(msgspec.structs.replace(F, secrets=(id,)),)))
    )
    assert refused.code == "NotFoundError"


async def test_what_goes_on_in_an_app_is_told_to_those_who_follow(server: Server, client: Client) -> None:
    app = await client.start_app(F)
    client.send(wire.Ask(90, wire.FollowStates(app["app"])), wire.Ask(91, wire.FollowLogs(app["app"])))
    client.send(wire.StartCall("ca-1", app["functions"]["f"], payloads=(b"P",)))
    waiting = await client.until(wire.State, lambda m: m.kind == "waiting" and m.why)
    assert "no node" in waiting.why
    agent = Agent(server, echo)
    container = await client.until(wire.State, lambda m: m.kind == "container" and m.state == "ready")
    agent.say(wire.ContainerLog(container.subject, "ca-1", "stdout", 1.0, "hello\n"))
    line = await client.until(wire.Log)
    assert (line.rid, line.container, line.function, line.text) == (91, container.subject, "f", "hello\n")
    client.send(wire.Unfollow(91))
    await client.results("ca-1", 1)
    await client.ask(wire.FunctionStats(app["functions"]["f"]))
    agent.say(wire.ContainerLog(container.subject, "ca-1", "stdout", 1.0, "unheard\n"))
    await client.ask(wire.FunctionStats(app["functions"]["f"]))
    assert not [m for m in client.messages if isinstance(m, wire.Log)]


async def test_specs_are_sealed_in_the_store_and_those_of_before_are_read(home: Path, opened: Opened) -> None:
    spec = FunctionSpec(name="f", module="m", qualname="f", env=(("DB_PASSWORD", "hunter2-in-the-store"),))
    async with opened() as server:
        client = await Client(home / "run" / "server.sock").connect()
        await client.start_app(spec, deploy=True)
        await client.close()
        f = tables.functions.c
        rows = server.store.read_now(lambda connection: connection.execute(sa.select(f.id, f.spec)).all())
        (id, sealed), *_ = rows
        assert b"hunter2" not in sealed
        plain = server.key.decrypt(f"spec of {id}", sealed[1:])
        with pytest.raises(InvalidError):
            server.key.decrypt("spec of another", sealed[1:])
        before = sa.update(tables.functions).where(f.id == id).values(spec=plain)
        await server.store.transact(lambda connection: connection.execute(before))
    async with opened() as server:
        (function,) = server.functions.all()
        assert function.spec.env == spec.env
        assert function.added().spec.env == ()
