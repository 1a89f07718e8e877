"""The management API: rights, answers and effects of each route."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect as connect_socket

from inrush import wire
from inrush.errors import InvalidError
from inrush.server.port.listening import bind
from inrush.server.serve import Server
from inrush.sim.replay import decisions
from inrush.wire import FunctionSpec, Gpu, ScalePolicy

from .peers import DEADLINE_S, Agent, Client

F = FunctionSpec(name="f", module="m", qualname="f", scale=ScalePolicy(min_containers=1))
ON_GPU = wire.Resources(gpu=(wire.GpuRequest("A10G"),))
Opened = Callable[..., contextlib.AbstractAsyncContextManager[Server]]


@pytest.fixture
async def api(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody with the token."""
    headers = {"authorization": f"Bearer {(server.home / 'token').read_text()}"}
    base = f"{server.endpoints.base}/api/v1"
    async with httpx.AsyncClient(base_url=base, headers=headers, trust_env=False, timeout=DEADLINE_S) as http:
        yield http


def test_a_port_is_taken_by_one_and_clients_wait_at_it_before_it_is_served() -> None:
    with bind("127.0.0.1", 0) as listener:
        host, port = listener.getsockname()
        socket.create_connection((host, port), DEADLINE_S).close()
        with pytest.raises(InvalidError, match="cannot listen on"):
            bind(host, port)


async def test_only_who_has_the_token_may(server: Server, api: httpx.AsyncClient) -> None:
    assert (await api.get("/status")).json()["version"] == server.version
    for headers in (
        {"authorization": "Bearer wrong"},
        {"authorization": ""},
        {"authorization": f"Basic {server.token}"},
    ):
        refused = await api.get("/status", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (401, "AuthError")
    assert (server.home / "token").stat().st_mode & 0o777 == 0o600


async def test_who_has_no_token_hears_only_whether_the_server_takes_work(
    server: Server, api: httpx.AsyncClient
) -> None:
    address = f"{server.url}/healthz"
    for method in ("GET", "HEAD"):
        healthy = await api.request(method, address, headers={"authorization": ""})
        assert (healthy.status_code, healthy.text) == (200, "ok\n" if method == "GET" else "")
    assert (await api.get(address, headers={"host": "evil.example"})).status_code == 403
    assert (await api.post(address)).status_code == 405
    server.ask_to_end("a test")
    ending = await api.get(address, headers={"authorization": ""})
    assert (ending.status_code, ending.text) == (503, "ending\n")


async def test_pages_of_other_origins_may_not_even_with_the_token(api: httpx.AsyncClient) -> None:
    assert (await api.get("/status", headers={"origin": "http://evil.example"})).status_code == 403
    assert (await api.get("/status", headers={"host": "evil.example"})).status_code == 403
    assert (await api.get("/status", headers={"origin": str(api.base_url).removesuffix("/api/v1/")})).status_code == 200


async def test_the_journal_of_a_server_replays(
    server: Server, api: httpx.AsyncClient, client: Client, home: Path
) -> None:
    agent = Agent(server, lambda method, payload: payload)
    await client.start_app(F)
    await client.wait(lambda: agent.containers)
    (home / "journal").write_bytes(base64.b64decode((await api.get("/journal")).json()["file"]))
    decided = [effect for step in decisions(home / "journal") for effect in step["decided"]]
    assert [effect["container"] for effect in decided if effect["type"] == "StartContainer"] == list(agent.containers)


async def test_apps_containers_and_nodes_are_told(server: Server, api: httpx.AsyncClient, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload, gpus=(Gpu(type="A10G", index=0, declared=True),))
    app = await client.start_app(F)
    await client.wait(lambda: agent.containers)
    (told,) = (await api.get("/apps")).json()
    assert (told["name"], told["state"], told["functions"]) == ("app", "running", ["f"])
    (detail,) = (await api.get("/apps/app")).json()["details"]
    assert detail["containers"] == 1
    (container,) = (await api.get("/containers", params={"app": "app"})).json()
    assert (container["state"], container["how"], container["function_name"]) == ("ready", "fork", "f")
    assert (await api.get("/containers", params={"app": "other"})).json() == []
    assert (await api.get(f"/containers/{container['id']}")).json() == container
    (node,) = (await api.get("/nodes")).json()
    assert (node["id"], node["gpus"][0]["type"], node["containers"]) == ("no-test", "A10G", 1)
    why = (await api.get("/functions/app/f/why")).json()["lines"]
    assert any("1 ready" in line for line in why)
    assert any("started by fork" in line for line in why)
    status = (await api.get("/status")).json()
    assert (status["apps"], status["containers"], status["nodes"], status["clients"]) == (1, 1, 1, 1)
    assert (await api.post(f"/apps/{app['app']}/stop")).status_code == 200
    ended = (await api.get("/functions/app/f/why")).json()["lines"]
    assert ended[0].startswith("its app has ended; until then: f: 1 or more containers, ")
    assert any("started by fork" in line for line in ended)
    assert (await api.get("/functions/app/g/why")).status_code == 404
    assert (await api.get("/apps")).json() == []
    assert (await api.get("/apps/app")).json()["state"] == "stopped"
    assert (await api.get("/apps/never")).status_code == 404


async def test_a_stopped_container_is_replaced_and_its_input_runs_again(
    server: Server, api: httpx.AsyncClient, client: Client
) -> None:
    agent = Agent(server, lambda method, payload: payload)
    agent.hold = True
    app = await client.start_app(F)
    client.send(wire.StartCall("ca-1", app["functions"]["f"], payloads=(b"P1",)))
    await client.wait(lambda: agent.held)
    first = agent.held[0].container
    assert (await api.post(f"/containers/{first}/stop")).status_code == 200
    await client.wait(lambda: len(agent.held) == 2)
    assert agent.held[1].container != first
    agent.held.pop(0)
    agent.release()
    await client.results("ca-1", 1)
    assert (await api.post(f"/containers/{first}/stop")).status_code == 404


async def test_scale_is_overridden_live(server: Server, api: httpx.AsyncClient, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload)
    await client.start_app(F)
    assert (await api.post("/functions/app/f/scale", json={"min_containers": 3})).status_code == 200
    await client.wait(lambda: len(agent.containers) == 3)
    refused = await api.post("/functions/app/f/scale", json={"min_containers": "many"})
    assert (refused.status_code, refused.json()["code"]) == (400, "InvalidError")


async def test_secrets_are_made_listed_and_deleted_and_never_shown(api: httpx.AsyncClient) -> None:
    body = {"name": "mine", "values": {"KEY": "hunter2"}}
    assert (await api.post("/secrets", json=body)).json()["keys"] == ["KEY"]
    assert (await api.post("/secrets", json=body)).status_code == 409
    assert (await api.post("/secrets", json=body | {"overwrite": True})).status_code == 200
    listed = await api.get("/secrets")
    assert [secret["name"] for secret in listed.json()] == ["mine"]
    assert "hunter2" not in listed.text
    assert (await api.delete("/secrets/mine")).status_code == 200
    assert (await api.delete("/secrets/mine")).status_code == 404


async def test_dicts_are_listed_with_their_sizes(api: httpx.AsyncClient, client: Client) -> None:
    id = await client.ask(wire.OpenDict("counts", create=True))
    await client.ask(wire.DictOp(id, "put", pairs=((b"a", b"1"), (b"b", b"2"))))
    (told,) = (await api.get("/dicts")).json()
    assert (told["name"], told["items"]) == ("counts", 2)


async def test_logs_are_given_and_followed(server: Server, api: httpx.AsyncClient, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload)
    await client.start_app(F)
    await client.wait(lambda: agent.containers)
    (container,) = agent.containers
    agent.say(*[wire.ContainerLog(container, "", "stdout", float(i), f"line {i}\n") for i in range(5)])
    lines = [json.loads(x) for x in (await api.get("/apps/app/logs", params={"backlog": 2})).text.splitlines()]
    assert [line["text"] for line in lines] == ["line 3\n", "line 4\n"]
    async with api.stream("GET", f"/containers/{container}/logs", params={"backlog": 1, "follow": 1}) as stream:
        iterator = stream.aiter_lines()
        assert json.loads(await anext(iterator))["text"] == "line 4\n"
        agent.say(wire.ContainerLog(container, "", "stderr", 9.0, "later\n"))
        later = json.loads(await anext(iterator))
        assert (later["stream"], later["text"]) == ("stderr", "later\n")


async def test_a_container_that_is_stopped_gracefully_finishes_what_it_runs_and_takes_no_more(
    server: Server, api: httpx.AsyncClient, client: Client
) -> None:
    agent = Agent(server, lambda method, payload: payload)
    agent.hold = True
    function = (await client.start_app(F))["functions"]["f"]
    client.send(wire.StartCall("ca-1", function, payloads=(b"P1",)))
    await client.wait(lambda: agent.held)
    (container,) = agent.containers
    assert (await api.post(f"/containers/{container}/stop", params={"graceful": 1})).status_code == 200
    client.send(wire.StartCall("ca-2", function, payloads=(b"P2",)))
    await client.wait(lambda: len(agent.held) == 2)
    assert not agent.got(wire.StopContainer)
    assert agent.held[1].container != container
    agent.release()
    await client.wait(lambda: agent.got(wire.StopContainer))
    assert [stop.container for stop in agent.got(wire.StopContainer)] == [container]


async def test_a_command_in_a_container_talks_over_a_web_socket(server: Server, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload)
    await client.start_app(F)
    await client.wait(lambda: agent.containers)
    (container,) = agent.containers
    agent.on[wire.ExecInput] = lambda m: (
        [wire.ExecOutput(m.exec, code=3)] if m.close else [wire.ExecOutput(m.exec, 1, m.data.upper())] if m.data else []
    )
    async with open_exec(server, f"/containers/{container}/exec") as socket:
        await socket.send(json.dumps({"argv": ["cat"], "tty": True, "rows": 50, "columns": 100}))
        await socket.send(b"hello")
        assert await socket.recv() == b"HELLO"
        await socket.send(json.dumps({"rows": 30, "columns": 90}))
        await socket.send(json.dumps({"close": True}))
        assert json.loads(await socket.recv()) == {"code": 3, "error": ""}
    (order,) = agent.got(wire.ExecIn)
    assert (order.argv, order.tty, order.rows, order.columns) == (("cat",), True, 50, 100)
    assert any((m.rows, m.columns) == (30, 90) for m in agent.got(wire.ExecInput))


async def test_a_shell_has_a_container_of_its_own_that_the_scheduler_places(server: Server, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload, gpus=(Gpu("A10G", 0),))
    agent.on[wire.ExecIn] = lambda m: [wire.ExecOutput(m.exec, code=0)]
    spec = msgspec.structs.replace(F, resources=ON_GPU, scale=ScalePolicy())
    await client.start_app(spec)
    async with open_exec(server, "/shell?app=app&name=f") as socket:
        await socket.send("{}")
        assert json.loads(await socket.recv())["code"] == 0
    (start,), (order,) = agent.got(wire.StartContainer), agent.got(wire.ExecIn)
    assert (start.spec.name, start.spec.module, start.spec.source) == ("f", "inrush.guest.standby", spec.source)
    assert (start.gpus, order.container) == ((0,), start.container)
    await client.wait(lambda: not agent.containers)
    assert [f.name for f in server.functions.all()] == ["f"]
    async with open_exec(server, "/containers/co-none/exec") as socket:
        await socket.send("{}")
        assert "co-none" in json.loads(await socket.recv())["error"]


async def test_a_shell_that_has_no_room_says_what_it_waits_for_and_goes_with_its_person(
    server: Server, client: Client
) -> None:
    agent = Agent(server, lambda method, payload: payload, gpus=(Gpu("A10G", 0),))
    await client.start_app(msgspec.structs.replace(F, resources=ON_GPU))
    await client.wait(lambda: agent.containers)
    async with open_exec(server, "/shell?app=app&name=f") as socket:
        await socket.send("{}")
        assert "A10G" in json.loads(await socket.recv())["why"]
    await client.wait(lambda: len(server.functions.all()) == 1)
    assert len(agent.got(wire.StartContainer)) == 1


def open_exec(server: Server, path: str) -> Any:
    address = f"ws{server.endpoints.base.removeprefix('http')}/api/v1{path}"
    return connect_socket(address, proxy=None, additional_headers={"authorization": f"Bearer {server.token}"})


async def test_every_route_is_described_and_the_page_needs_nothing_from_elsewhere(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.endpoints.base, trust_env=False) as http:
        document = (await http.get("/api/openapi.json")).json()
        page = (await http.get("/api/docs")).text
    assert document["openapi"].startswith("3.1")
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert references <= set(document["components"]["schemas"])
    for path, operations in document["paths"].items():
        assert path in page
        for operation in operations.values():
            assert operation["summary"]
    assert not re.search(r"(src|href)=\"?(https?:)?//", page)


async def test_who_asks_for_it_ends_the_server(opened: Opened) -> None:
    async with opened() as server:
        ended = asyncio.create_task(server.wait_closed())
        headers = {"authorization": f"Bearer {server.token}"}
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.post(f"{server.endpoints.base}/api/v1/shutdown", headers=headers)).status_code == 200
        await asyncio.wait_for(ended, DEADLINE_S)
    assert not (server.home / "run" / "server.json").exists()
    assert not (server.home / "run" / "server.sock").exists()


async def test_an_idle_server_ends_by_itself_and_keeps_its_port(opened: Opened) -> None:
    for _ in range(5):  # another program of this machine may take a port that is free for a moment
        async with opened(idle_exit_s=1) as server:
            base = server.endpoints.base
            await asyncio.wait_for(server.wait_closed(), DEADLINE_S)
        async with opened() as server:
            if server.endpoints.base == base:
                return
    raise AssertionError("five times it came back at another port")


async def test_a_client_elsewhere_comes_by_web_socket_with_its_token(server: Server) -> None:
    Agent(server, lambda method, payload: payload)
    address = f"ws{server.endpoints.base.removeprefix('http')}/link"
    async with connect_socket(address, proxy=None) as socket:
        await socket.send(wire.encode([wire.Hello("cl-far", "wrong")]))
        (rejected,) = wire.to_client_decoder.decode(await socket.recv())
        assert isinstance(rejected, wire.Rejected)
        assert rejected.code == "AuthError"
    async with connect_socket(address, proxy=None) as socket:
        spec = wire.AppSpec(name="far", functions=(F,))
        await socket.send(wire.encode([wire.Hello("cl-far", server.token), wire.Ask(1, wire.StartApp(spec))]))
        messages: list[Any] = []
        while len(messages) < 2:
            messages += wire.to_client_decoder.decode(await socket.recv())
        assert isinstance(messages[0], wire.Welcome)
        function = messages[1].result["functions"]["f"]
        await socket.send(wire.encode([wire.StartCall("ca-1", function, payloads=(b"P1",))]))
        (results,) = wire.to_client_decoder.decode(await socket.recv())
        assert results == wire.Results("ca-1", (0,), (0,), (b"P1",))
