"""What survives the loss of a link, and what survives the end of the server's process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from inrush import wire
from inrush.server.calls import saved
from inrush.server.links.sockets import CONGESTED_BYTES
from inrush.server.serve import Server
from inrush.wire import FunctionSpec, ScalePolicy, Status

from .peers import Agent, Client

Opened = Callable[..., AbstractAsyncContextManager[Server]]
F = FunctionSpec(name="f", module="m", qualname="f", scale=ScalePolicy(max_inputs=64))


def echo(method: str, payload: bytes) -> bytes:
    return payload


def socket_of(server: Server) -> Path:
    return server.home / "run" / "server.sock"


async def test_results_that_were_lost_with_a_link_are_sent_again(server: Server) -> None:
    agent = Agent(server, echo)
    agent.hold = True
    first = await Client(socket_of(server)).connect()
    app = await first.start_app(F)
    first.send(wire.StartCall("ca-1", app["functions"]["f"], payloads=(b"P1",)))
    await first.wait(lambda: agent.held)
    await first.close()
    agent.release()
    again = await Client(socket_of(server)).connect()
    assert again.boot == first.boot
    again.send(wire.ResumeCall("ca-1"))
    assert await again.results("ca-1", 1) == {0: (Status.OK, b"P1")}
    assert len(agent.got(wire.Run)) == 1
    await again.close()


async def test_inputs_that_were_lost_with_a_link_are_asked_for(server: Server) -> None:
    Agent(server, echo)
    first = await Client(socket_of(server)).connect()
    app = await first.start_app(F)
    first.send(wire.StartCall("ca-1", app["functions"]["f"], "map", "", (b"P0", b"P1"), 0, 6))
    await first.results("ca-1", 2)
    await first.close()
    again = await Client(socket_of(server)).connect()
    again.send(wire.ResumeCall("ca-1", ((0, 2),)))
    resend = await again.until(wire.Resend)
    assert (resend.unknown, resend.ranges) == (False, ((2, 6),))
    again.send(wire.Inputs("ca-1", 2, tuple(b"P%d" % i for i in range(2, 6))))
    again.messages = [m for m in again.messages if not isinstance(m, wire.Results)]
    assert sorted(await again.results("ca-1", 4)) == [2, 3, 4, 5]
    await again.close()


async def test_an_input_that_is_sent_twice_runs_once(server: Server, client: Client) -> None:
    agent = Agent(server, echo)
    agent.hold = True
    app = await client.start_app(F)
    call = wire.StartCall("ca-1", app["functions"]["f"], payloads=(b"P1",))
    client.send(call)
    client.send(call)
    await client.wait(lambda: agent.held)
    agent.release()
    await client.results("ca-1", 1)
    await client.ask(wire.FunctionStats(app["functions"]["f"]))
    assert len(agent.got(wire.Run)) == 1
    assert not [m for m in client.messages if isinstance(m, wire.Results)]


async def test_items_of_a_generator_that_were_lost_with_a_link_are_sent_again(server: Server) -> None:
    agent = Agent(server, echo)
    agent.hold = True
    first = await Client(socket_of(server)).connect()
    app = await first.start_app(F)
    first.send(wire.StartCall("ca-g", app["functions"]["f"], "gen", payloads=(b"P",)), wire.Grant("ca-g", 8))
    await first.wait(lambda: agent.held)
    run = agent.held[0]
    assert agent.got(wire.GrantRun)[0].credit == 8
    await first.close()
    agent.say(wire.Yielded(run.container, "ca-g", 0, 0, (b"Pa", b"Pb")))
    again = await Client(socket_of(server)).connect()
    again.send(wire.ResumeCall("ca-g"))
    items = await again.until(wire.Items)
    assert (items.first, items.payloads) == (0, (b"Pa", b"Pb"))
    await again.close()


async def test_a_map_over_a_restart_ends_with_every_result_once(opened: Opened) -> None:
    async with opened() as server:
        agent = Agent(server, echo)
        client = await Client(socket_of(server)).connect()
        app = await client.start_app(F)
        function = app["functions"]["f"]
        client.send(wire.StartCall("ca-m", function, "map", "", tuple(b"P%d" % i for i in range(10)), 0, 20))
        got = await client.results("ca-m", 10)
        agent.hold = True
        client.send(wire.Inputs("ca-m", 10, tuple(b"P%d" % i for i in range(10, 20))))
        await client.wait(lambda: agent.held)
        boot = client.boot
    async with opened() as server:
        Agent(server, echo)
        client = await Client(socket_of(server)).connect()
        assert client.boot != boot
        client.send(wire.ResumeCall("ca-m", ((0, 10),)))
        assert (await client.until(wire.Resend)).unknown
        client.send(wire.StartCall("ca-m", function, "map", "", (), 0, 20))
        client.send(wire.Inputs("ca-m", 10, tuple(b"P%d" % i for i in range(10, 20))), wire.EndInputs("ca-m", 20))
        got |= await client.results("ca-m", 10)
        assert got == {i: (Status.OK, b"P%d" % i) for i in range(20)}
        await client.wait(lambda: len(server.calls) == 0)
        await client.close()


async def test_a_spawned_call_is_acknowledged_when_saved_and_runs_after_a_restart(opened: Opened) -> None:
    async with opened() as server:
        Agent(server, echo).hold = True
        client = await Client(socket_of(server)).connect()
        app = await client.start_app(F, deploy=True)
        client.send(wire.StartCall("ca-s", app["functions"]["f"], "spawn", payloads=(b"P7",)))
        await client.until(wire.Accepted)
    async with opened() as server:
        Agent(server, echo)
        other = await Client(socket_of(server), "cl-other").connect()
        other.send(wire.AwaitCall("ca-s"))
        assert await other.results("ca-s", 1) == {0: (Status.OK, b"P7")}
        await other.close()
    async with opened() as server:
        later = await Client(socket_of(server), "cl-later").connect()
        assert await later.ask(wire.FindCall("ca-s")) == {
            "function": app["functions"]["f"],
            "kind": "spawn",
            "inputs": 1,
            "done": 1,
        }
        later.send(wire.AwaitCall("ca-s"))
        assert await later.results("ca-s", 1) == {0: (Status.OK, b"P7")}
        await later.close()


async def test_a_spawned_map_keeps_the_results_it_had_before_a_restart(opened: Opened) -> None:
    async with opened() as server:
        agent = Agent(server, echo)
        client = await Client(socket_of(server)).connect()
        function = (await client.start_app(F, deploy=True))["functions"]["f"]
        client.send(wire.StartCall("ca-s", function, "spawn", "", (b"P0", b"P1"), 0, 4), wire.AwaitCall("ca-s"))
        await client.results("ca-s", 2)
        assert not [m for m in client.messages if isinstance(m, wire.Accepted)], "not all inputs are there yet"
        agent.hold = True
        client.send(wire.Inputs("ca-s", 2, (b"P2", b"P3")))
        await client.until(wire.Accepted)
    async with opened() as server:
        agent = Agent(server, echo)
        client = await Client(socket_of(server)).connect()
        client.send(wire.AwaitCall("ca-s"))
        assert await client.results("ca-s", 4) == {i: (Status.OK, b"P%d" % i) for i in range(4)}
        assert [index for run in agent.got(wire.Run) for index in run.indexes] == [2, 3]
        await client.close()


async def test_a_cancelled_spawn_stays_cancelled(server: Server, client: Client) -> None:
    function = (await client.start_app(F, deploy=True))["functions"]["f"]
    client.send(wire.StartCall("ca-s", function, "spawn", payloads=(b"P",)))
    await client.until(wire.Accepted)
    client.send(wire.CancelCall("ca-s"), wire.AwaitCall("ca-s"))
    assert (await client.results("ca-s", 1))[0][0] == Status.CANCELLED


async def test_a_call_that_never_was_is_not_found(client: Client) -> None:
    client.send(wire.AwaitCall("ca-never"))
    assert (await client.until(wire.CallRefused)).code == "NotFoundError"
    assert (await client.ask(wire.FindCall("ca-never"))).code == "NotFoundError"


async def test_containers_of_before_are_stopped_when_their_agent_comes_back(server: Server) -> None:
    agent = Agent(server, echo)
    agent.say(wire.NodeHello(agent.node, wire.Inventory(cpu=8, memory_mib=16384), ("co-unknown",)))
    watcher = await Client(socket_of(server)).connect()
    await watcher.wait(lambda: agent.got(wire.StopContainer))
    assert agent.got(wire.StopContainer)[0].container == "co-unknown"
    await watcher.close()


async def test_results_are_kept_for_their_time_and_then_said_to_be_gone(opened: Opened) -> None:
    async with opened() as server:
        Agent(server, echo)
        client = await Client(socket_of(server)).connect()
        function = (await client.start_app(F, deploy=True))["functions"]["f"]
        client.send(wire.StartCall("ca-s", function, "spawn", payloads=(b"P",)), wire.AwaitCall("ca-s"))
        await client.results("ca-s", 1)
        server.durable._ttl_s = 0
        client.send(wire.AwaitCall("ca-s"))
        refused = await client.until(wire.CallRefused)
        assert refused.code == "OutputExpiredError"
        assert "result_ttl_s" in refused.message
        assert (await client.ask(wire.FindCall("ca-s"))).code == "OutputExpiredError"
        await client.close()


async def test_a_client_that_asks_again_over_a_new_link_is_answered_once(server: Server) -> None:
    first = await Client(socket_of(server)).connect()
    ask = wire.Ask(1, wire.StartApp(wire.AppSpec(name="app", functions=(F,))))
    first.send(ask)
    first.send(ask)
    await first.until(wire.Answer)
    await first.ask(wire.HasBlobs(()))
    assert len(server.apps.running()) == 1
    await first.close()


async def test_of_a_spawned_map_only_the_results_that_are_asked_for_are_sent(opened: Opened) -> None:
    inputs = tuple(b"P%d" % i for i in range(3000))
    async with opened() as server:
        Agent(server, echo)
        client = await Client(socket_of(server)).connect()
        function = (await client.start_app(F, deploy=True))["functions"]["f"]
        client.send(wire.StartCall("ca-s", function, "spawn", "", inputs, 0, 3000), wire.AwaitCall("ca-s", 1020, 8))
        assert sorted(await client.results("ca-s", 8)) == list(range(1020, 1028))
        await client.wait(lambda: not len(server.durable), "the end of the call")
        client.send(wire.AwaitCall("ca-s", 2999, 1), wire.AwaitCall("ca-s", 1, 2))
        assert sorted(await client.results("ca-s", 3)) == [1, 2, 2999]
        assert await client.ask(wire.FindCall("ca-nobody"))
        assert not [m for m in client.messages if isinstance(m, wire.Results)], "more than was asked for"
        await client.close()


async def test_each_of_many_calls_has_its_own_inputs_and_results_after_a_restart(opened: Opened) -> None:
    """Their ids sort otherwise than they were made, and every third has three inputs, of which one has no result."""
    names = [f"ca-{(7 * i) % 20:02}" for i in range(20)]
    inputs = {name: tuple(b"%d:%d" % (i, k) for k in range(1 + 2 * (i % 3 == 0))) for i, name in enumerate(names)}

    def all_but_first(run: wire.Run) -> list[wire.Ran]:
        done = [(i, p) for i, p in zip(run.indexes, run.payloads, strict=True) if i]
        indexes, payloads = tuple(i for i, _ in done), tuple(p for _, p in done)
        return [wire.Ran(run.container, run.call, indexes, (int(Status.OK),) * len(done), payloads)] if done else []

    async with opened() as server:
        Agent(server, echo).on[wire.Run] = all_but_first
        client = await Client(socket_of(server)).connect()
        function = (await client.start_app(F, deploy=True))["functions"]["f"]
        for name, payloads in inputs.items():
            client.send(wire.StartCall(name, function, "spawn", "", payloads, 0, len(payloads)), wire.AwaitCall(name))
        for name, payloads in inputs.items():
            await client.until(wire.Accepted, lambda message, name=name: message.call == name)
            await client.results(name, len(payloads) - 1)
        await client.close()
    async with opened() as server:
        agent = Agent(server, echo)
        client = await Client(socket_of(server)).connect()
        for name, payloads in inputs.items():
            client.send(wire.AwaitCall(name))
            assert await client.results(name, len(payloads)) == {k: (Status.OK, p) for k, p in enumerate(payloads)}
        again = [(run.call, run.indexes) for run in agent.got(wire.Run)]
        assert again == [(name, (0,)) for name in names], "the oldest first, and nothing twice"
        await client.close()


async def test_results_that_are_saved_while_saved_ones_are_read_come_once(opened: Opened) -> None:
    """A result that is committed between the wait and the reading of the store is there in both ways."""
    async with opened() as server:
        agent = Agent(server, echo)
        agent.hold = True
        client = await Client(socket_of(server)).connect()
        function = (await client.start_app(F, deploy=True))["functions"]["f"]
        inputs = tuple(b"%d" % i for i in range(64))
        client.send(wire.StartCall("ca-1", function, "spawn", "", inputs, 0, len(inputs)))
        await client.until(wire.Accepted)
        await client.wait(lambda: sum(len(run.indexes) for run in agent.held) == len(inputs))
        alone = [
            wire.Ran(run.container, run.call, (i,), (int(Status.OK),), (payload,))
            for run in agent.held
            for i, payload in zip(run.indexes, run.payloads, strict=True)
        ]
        agent.say(alone[0])
        await client.wait(lambda: server.durable._live["ca-1"].stored)
        read = server.store.read

        async def read_late(query: Callable[..., Any]) -> Any:
            """Others are saved while this reader waits for its turn."""
            while alone:
                agent.say(alone.pop())
            await client.wait(lambda: not server.durable._live)
            return await read(query)

        alone.pop(0)
        server.store.read = read_late  # type: ignore[method-assign, assignment]
        client.send(wire.AwaitCall("ca-1"))
        assert len(await client.results("ca-1", len(inputs))) == len(inputs)
        server.store.read = read  # type: ignore[method-assign]
        assert await client.ask(wire.FindCall("ca-1"))
        assert not [m for m in client.messages if isinstance(m, wire.Results)], "some came twice"
        await client.close()


async def test_who_reads_a_large_spawned_map_slowly_does_not_fill_the_server(opened: Opened) -> None:
    size, count = 100_000, 600
    async with opened() as server:
        Agent(server, lambda method, payload: b"P" + payload * (size // len(payload)))
        client = await Client(socket_of(server)).connect()
        function = (await client.start_app(F, deploy=True))["functions"]["f"]
        inputs = tuple(b"%03d" % i for i in range(count))
        client.send(wire.StartCall("ca-s", function, "spawn", "", inputs, 0, count))
        await client.until(wire.Accepted)
        await client.wait(lambda: not len(server.durable), "the end of the call")
        reader, writer = await asyncio.open_unix_connection(str(socket_of(server)))
        frame = wire.encode([wire.Hello("cl-slow"), wire.AwaitCall("ca-s")])
        writer.write(wire.FRAME.pack(len(frame)) + frame)
        slow = await client.wait(lambda: server.sessions._clients.get("cl-slow"), "the slow client")
        await client.wait(slow.congested, "more than it reads")
        for _ in range(20):
            assert await client.ask(wire.FindCall("ca-s")), "others are served meanwhile"
        assert slow.link._transport.get_write_buffer_size() < CONGESTED_BYTES + 2 * saved.PAGE_BYTES
        got: list[int] = []
        while len(got) < count:
            (length,) = wire.FRAME.unpack(await reader.readexactly(4))
            batch = wire.to_client_decoder.decode(await reader.readexactly(length))
            got += [index for message in batch if isinstance(message, wire.Results) for index in message.indexes]
        assert got == list(range(count))
        writer.close()
        await client.close()
