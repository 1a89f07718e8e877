"""Links that break the protocol, are slow or are many, and the limits on them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
import pytest

from inrush import wire
from inrush.core.model import events
from inrush.linux import descriptors
from inrush.server.calls import call as call_module
from inrush.server.calls import table as calls_module
from inrush.server.journal import Journal
from inrush.server.links import sockets
from inrush.server.links.guests import frames_of
from inrush.server.serve import Server
from inrush.wire import FunctionSpec, Status

from .peers import DEADLINE_S, Agent, Client, failure

F = FunctionSpec(name="f", module="m", qualname="f")
Opened = Callable[..., contextlib.AbstractAsyncContextManager[Server]]


def frame(body: bytes) -> bytes:
    return wire.FRAME.pack(len(body)) + body


@pytest.mark.parametrize(
    "sent",
    [
        frame(b"no msgpack"),
        frame(wire.encode([wire.Ask(1, wire.HasBlobs(()))])),
        wire.FRAME.pack(wire.FRAME_LIMIT_BYTES + 1),
        frame(wire.encode([])),
    ],
)
async def test_who_breaks_the_protocol_is_cut_off_and_others_are_served(
    server: Server, client: Client, sent: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(server.home / "run" / "server.sock"))
    writer.write(sent)
    assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b""
    writer.close()
    assert await client.ask(wire.HasBlobs(())) == []


async def test_a_client_of_another_protocol_is_rejected_with_what_to_do(server: Server) -> None:
    client = Client(server.home / "run" / "server.sock")
    with pytest.raises(AssertionError, match="Install the server's here"):
        await client.connect(protocol=99)


async def test_frames_arrive_whole_however_they_are_cut(server: Server) -> None:
    reader, writer = await asyncio.open_unix_connection(str(server.home / "run" / "server.sock"))
    hello, ask = wire.encode([wire.Hello("cl-cut")]), wire.encode([wire.Ask(7, wire.HasBlobs(("bl-1",)))])
    for byte in frame(hello) + frame(ask):
        writer.write(bytes((byte,)))
        await writer.drain()
    got: list[object] = []
    while len(got) < 2:
        (length,) = wire.FRAME.unpack(await reader.readexactly(4))
        got += wire.to_client_decoder.decode(await reader.readexactly(length))
    assert got[1] == wire.Answer(7, ["bl-1"])
    writer.close()


async def test_a_full_queue_refuses_the_call(opened: Opened) -> None:
    async with opened(max_queued_inputs=2) as server:
        client = await Client(server.home / "run" / "server.sock").connect()
        function = (await client.start_app(F))["functions"]["f"]
        client.send(wire.StartCall("ca-1", function, "map", "", (b"P", b"P"), 0, 2))
        client.send(wire.StartCall("ca-2", function, payloads=(b"P",)))
        refused = await client.until(wire.CallRefused)
        assert (refused.call, refused.code) == ("ca-2", "ResourceExhaustedError")
        assert "max_queued_inputs" in refused.message
        Agent(server, lambda method, payload: payload)
        await client.results("ca-1", 2)
        client.send(wire.StartCall("ca-3", function, payloads=(b"P",)))
        await client.results("ca-3", 1)
        await client.close()


async def test_a_client_that_ignores_its_window_loses_its_call_only(server: Server, client: Client) -> None:
    function = (await client.start_app(F))["functions"]["f"]
    many = (b"P",) * call_module.WINDOW_INPUTS
    client.send(wire.StartCall("ca-1", function, "map", "", many, 0, -1))
    client.send(wire.Inputs("ca-1", len(many), many), wire.Inputs("ca-1", 2 * len(many), many))
    assert (await client.until(wire.CallRefused)).code == "ResourceExhaustedError"
    Agent(server, lambda method, payload: payload)
    client.send(wire.StartCall("ca-2", function, payloads=(b"P",)))
    await client.results("ca-2", 1)


async def test_an_end_without_a_payload_gets_words(server: Server, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload)
    agent.on[wire.StartContainer] = lambda m: [wire.ContainerEnded(m.container, Status.STARTUP, "it does not import")]
    function = (await client.start_app(F))["functions"]["f"]
    client.send(wire.StartCall("ca-1", function, payloads=(b"P",)))
    status, payload = (await client.results("ca-1", 1))[0]
    assert status == Status.STARTUP
    assert failure(payload)["code"] == "StartupError"
    assert "it does not import" in failure(payload)["message"]


def test_a_batch_that_is_too_long_goes_as_several_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "FRAME_LIMIT_BYTES", 1000)
    batch = [wire.Results(f"ca-{i}", (0,), (0,), (b"P" * 100,)) for i in range(50)]
    frames = frames_of(batch)
    assert all(len(one) <= 1000 for one in frames)
    assert [m for one in frames for m in wire.to_client_decoder.decode(one)] == batch
    assert frames_of([]) == []


def test_the_journal_keeps_the_latest_events_without_their_payloads() -> None:
    journal = Journal(limit_bytes=20_000)
    for i in range(2000):
        journal.add(float(i), events.AttemptsEnded("co-1", f"ca-{i}", (0,), (0,), (b"secret payload",)))
    kept = list(journal.read())
    assert 100 < len(kept) < 2000
    last_at, last = kept[-1]
    assert (last_at, last) == (1999.0, events.AttemptsEnded("co-1", "ca-1999", (0,), (0,), (None,)))
    assert b"secret" not in msgspec.msgpack.encode([event for _, event in kept])


async def test_finished_calls_are_remembered_up_to_a_number_of_bytes(server: Server, client: Client) -> None:
    Agent(server, lambda method, payload: payload)
    function = (await client.start_app(F))["functions"]["f"]
    large = b"P" * wire.INLINE_LIMIT_BYTES
    fits = calls_module.FINISHED_BYTES // len(large)
    for i in range(fits + 20):
        client.send(wire.StartCall(f"ca-{i}", function, payloads=(large,)))
        await client.results(f"ca-{i}", 1)
    kept = [i for i in range(fits + 20) if server.calls.get(f"ca-{i}") is not None]
    assert kept == list(range(20, fits + 20))
    assert server.calls._held == fits * len(large)
    await client.close()
    await Client(client.path, "cl-other").connect()
    server.calls.left(next(s for s in server.sessions._clients.values() if s.client == client.client))
    assert (server.calls._held, server.calls._finished_held, len(server.calls)) == (0, 0, 0)


async def test_connections_to_the_unix_socket_are_bounded_and_silent_ones_make_room(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "DESCRIPTORS_SHARE", descriptors.limit() // 2)
    async with opened() as server:
        path = server.home / "run" / "server.sock"
        first = await Client(path, "cl-1").connect()
        silent, writer = await asyncio.open_unix_connection(str(path))
        second = await Client(path, "cl-2").connect()
        assert await asyncio.wait_for(silent.read(), DEADLINE_S) == b""
        with pytest.raises(AssertionError, match="too many programs are connected"):
            await Client(path, "cl-3").connect()
        await second.close()
        third = await Client(path, "cl-3").connect()
        assert await first.ask(wire.HasBlobs(())) == await third.ask(wire.HasBlobs(())) == []
        writer.close()
