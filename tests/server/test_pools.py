"""Pools of a server: nodes that are ordered come, their containers run on the machine's agent, and they are given
back; what nodes say of pools; what a provider does wrong."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from inrush import wire
from inrush.core.model.effects import NodesReleased, NodesWanted
from inrush.errors import InvalidError
from inrush.server.serve import Server
from inrush.wire import FunctionSpec, Gpu, GpuRequest, Inventory, Resources, ScalePolicy, Status

from .peers import Agent, Client

Opened = Callable[..., contextlib.AbstractAsyncContextManager[Server]]

FILE = """
[[pools]]
name = "rack"
kind = "declared"
nodes = 2
gpu_type = "T4"
gpus = 1

[[pools]]
name = "cheap"
kind = "simulated"
nodes_max = 1
gpu_type = "A100"
gpus = 2
price = 4
node_s = 0.05
keep_s = 0.5
cloud = "aws"

[[pools]]
name = "dear"
kind = "simulated"
nodes_max = 4
gpu_type = "A100"
gpus = 2
price = 9
node_s = 0.05
keep_s = 0.5
"""
BASE = '[[pools]]\nname = "base"\nkind = "simulated"\nnodes = 2\ngpu_type = "A100"\ngpus = 1\n'


def gpu(name: str, gpu_type: str = "A100", **scale: int) -> FunctionSpec:
    """A function that wants one device."""
    asked = Resources(gpu=(GpuRequest(type=gpu_type),))
    return FunctionSpec(name=name, module="m", qualname=name, resources=asked, scale=ScalePolicy(**scale))


def echo(method: str, payload: bytes) -> bytes:
    return payload


@contextlib.asynccontextmanager
async def serving(opened: Opened, home: Path, text: str = FILE) -> Any:
    """A server with these pools, the agent of its machine (without GPUs), and a client."""
    (home / "pools.toml").write_text(text)
    async with opened(pools="pools.toml") as server:
        agent = Agent(server, echo)
        server.pools.start(agent.node, agent.receive)
        client = await Client(home / "run" / "server.sock").connect()
        yield server, agent, client
        await client.close()


def pools(server: Server) -> dict[str, dict[str, Any]]:
    return {told["name"]: told for told in server.pools.describe()}


async def test_nodes_come_when_they_are_wanted_run_on_this_machine_and_go_when_they_are_empty(
    opened: Opened, home: Path
) -> None:
    async with serving(opened, home) as (server, agent, client):
        app = await client.start_app(gpu("f"))
        client.send(wire.StartCall("ca-1", app["functions"]["f"], payloads=(b"P1",)))
        assert await client.results("ca-1", 1) == {0: (Status.OK, b"P1")}
        (start,) = agent.got(wire.StartContainer)
        assert (start.gpus, start.gpu_type) == ((0,), "A100")
        assert start.cards == (Gpu(type="A100", index=0, declared=True),)
        assert len(agent.got(wire.Prepare)) == 1, "the machine prepares once, however many nodes it stands for"
        assert pools(server)["cheap"]["nodes"] == 1
        await client.wait(lambda: not pools(server)["cheap"]["nodes"])
        assert [node.id for node in server.nodes.all()] == [agent.node]
        assert "gave back no-cheap-1: empty for 0.5 s" in pools(server)["cheap"]["told"][-1]
        assert server.loop.core.violations() == []


async def test_what_one_pool_has_not_comes_from_the_next(opened: Opened, home: Path) -> None:
    async with serving(opened, home) as (server, agent, client):
        await client.start_app(gpu("f", min_containers=4))
        await client.wait(lambda: len(agent.containers) == 4)
        assert (pools(server)["cheap"]["nodes"], pools(server)["dear"]["nodes"]) == (1, 1)
        assert pools(server)["cheap"]["blocked"] == "is at its maximum"
        assert "cheap has room for 1 more only" in pools(server)["dear"]["told"][0]
        assert sorted(server.loop.core.nodes) == ["no-cheap-1", "no-dear-1", agent.node]


async def test_nodes_of_the_start_are_there_and_stay_and_go_with_the_server(opened: Opened, home: Path) -> None:
    async with serving(opened, home, BASE) as (server, agent, client):
        await client.start_app(gpu("f", min_containers=2))
        await client.wait(lambda: len(agent.containers) == 2)
        assert pools(server)["base"]["node_ids"] == ["no-base-1", "no-base-2"]
    assert [node.id for node in server.nodes.all()] == [agent.node]


async def test_what_is_the_matter_with_the_machine_is_so_with_its_simulated_nodes(opened: Opened, home: Path) -> None:
    async with serving(opened, home, BASE) as (server, agent, client):
        core = server.loop.core
        await client.wait(lambda: "base" in core.pools)
        agent.say(wire.NodeState(agent.node, (), "its disk is nearly full"))
        assert {node.id: node.aside for node in core.nodes.values()} == dict.fromkeys(
            ("no-base-1", "no-base-2", agent.node), "its disk is nearly full"
        )
        agent.say(wire.NodeState(agent.node))
        assert [node.aside for node in core.nodes.values()] == ["", "", ""]


async def test_only_what_neither_nodes_nor_pools_have_is_refused(opened: Opened, home: Path) -> None:
    async with serving(opened, home) as (_, _, client):
        await client.start_app(gpu("f"), gpu("g", "T4"))
        refused = await client.ask(wire.StartApp(wire.AppSpec(name="other", functions=(gpu("h", "H100"),))))
        assert isinstance(refused, wire.Refused)
        assert "no node has H100; there is no GPU at all; nor will a node of a pool: rack has 1 T4" in refused.message
        assert "cheap has 2 A100, 64 cpu, 524288 MiB in aws" in refused.message


async def test_a_node_names_its_declared_pool_and_one_that_names_another_serves_all_the_same(
    opened: Opened, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(opened, home) as (server, agent, client):
        has = Inventory(cpu=8, memory_mib=16384, gpus=(Gpu(type="T4", index=0, declared=True),))
        for node, pool in (("no-a", "rack"), ("no-b", "attic"), ("no-c", "cheap")):
            server.nodes.attach(agent.receive)([wire.NodeHello(node, has, pool=pool)])
        plain = Inventory(cpu=8, memory_mib=16384)
        server.nodes.attach(agent.receive)([wire.NodeHello("no-d", plain, pool="rack")])
        assert pools(server)["rack"]["node_ids"] == ["no-a", "no-d"]
        assert pools(server)["cheap"]["nodes"] == 0
        assert "node no-b says that it is of pool 'attic', which no file of the setting pools has" in caplog.text
        assert "node no-c says that it is of pool 'cheap', whose nodes are simulated" in caplog.text
        assert "node no-d of pool rack has 0 T4, and the file says 1 each" in caplog.text
        await client.start_app(gpu("f", "T4", min_containers=3))
        await client.wait(lambda: len(agent.containers) == 3)


async def test_a_provider_that_raises_is_a_defect_and_the_next_pool_is_asked(
    opened: Opened, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        """A provider that breaks its promise."""

        def __init__(self, offer: Any) -> None:
            self.offer = offer

        def order(self, count: int) -> None:
            raise OSError("the cloud's door is shut")

        def release(self, nodes: object) -> None:
            raise OSError("and stays shut")

    async with serving(opened, home) as (server, agent, client):
        server.pools.providers["cheap"] = Broken(server.pools.providers["cheap"].offer)
        with caplog.at_level(logging.ERROR):
            await client.start_app(gpu("f", min_containers=1))
            await client.wait(lambda: agent.containers)
            server.pools.release(NodesReleased("cheap", ("no-cheap-9",), "it is a test"))
        assert caplog.text.count("a defect: the provider of pool cheap failed") == 2
        assert pools(server)["dear"]["nodes"] == 1
        assert "its provider failed (OSError: the cloud's door is shut)" in pools(server)["cheap"]["blocked"]


async def test_a_declared_pool_says_how_more_of_it_would_come(opened: Opened, home: Path) -> None:
    async with serving(opened, home) as (server, _, client):
        app = await client.start_app(gpu("g", "T4"))
        client.send(wire.StartCall("ca-1", app["functions"]["g"], payloads=(b"P1",)))
        await client.wait(lambda: pools(server)["rack"]["blocked"])
        assert "pool rack is declared, 2 nodes: start an agent on another" in pools(server)["rack"]["blocked"]
        text = "\n".join(server.loop.core.explain(app["functions"]["g"]))
        assert "1 inputs wait: no node has T4; there is no GPU at all; pool rack could not: " in text


async def test_a_server_that_ends_orders_nothing_more(opened: Opened, home: Path) -> None:
    async with serving(opened, home) as (server, agent, _):
        server.ask_to_end("it is a test")
        server.pools.order(NodesWanted("cheap", 1, "it is a test"))
        assert [node.id for node in server.nodes.all()] == [agent.node]


async def test_pools_are_told_as_json(opened: Opened, home: Path) -> None:
    async with serving(opened, home) as (server, agent, client):
        await client.ask(wire.StartApp(wire.AppSpec(name="app", functions=(gpu("f", min_containers=1),))))
        headers = {"authorization": f"Bearer {server.token}"}
        async with httpx.AsyncClient(base_url=f"{server.url}/api/v1", headers=headers, trust_env=False) as http:
            rack, cheap, dear = (await http.get("/pools")).json()
            nodes = (await http.get("/nodes")).json()
        assert (rack["kind"], rack["nodes_max"], rack["gpu_type"]) == ("declared", 2, "T4")
        assert (cheap["cloud"], cheap["price"], cheap["nodes_max"], cheap["keep_s"]) == ("aws", 4.0, 1, 0.5)
        assert dear["name"] == "dear"
        assert {node["id"]: node["pool"] for node in nodes}[agent.node] == ""


async def test_a_server_with_a_broken_file_does_not_start(opened: Opened, home: Path) -> None:
    (home / "pools.toml").write_text('[[pools]]\nname = "x"\nkind = "cloud"\n')
    with pytest.raises(InvalidError, match=r"pools.toml: pool 'x': kind: "):
        async with opened(pools="pools.toml"):
            pass
    assert not (home / "store.db").exists()
