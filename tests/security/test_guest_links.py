"""User code that uses the SDK's protocol directly: what it may not read, and which limits it cannot exceed."""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from inrush import settings, wire
from inrush.server.calls import table
from inrush.server.links import guests
from inrush.server.rows import quota
from inrush.server.serve import Server
from inrush.server.shares import Shares
from inrush.wire import FunctionSpec, ScalePolicy
from server.peers import Agent, Client
from server.test_guests import Guest, guest_of

MIB = 1024 * 1024
F = FunctionSpec(name="f", module="m", qualname="f", scale=ScalePolicy(min_containers=1))


@pytest.fixture
def home() -> Iterator[Path]:
    """Short, because a unix socket's path may have 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="in-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def server(home: Path) -> AsyncIterator[Server]:
    server = Server(home, settings.load({"idle_exit_s": 0}, environ={"INRUSH_HOME": str(home)}))
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    client = await Client(server.home / "run" / "server.sock").connect()
    yield client
    await client.close()


def deep(levels: int) -> bytes:
    """A message with one element more than it has fields, which is nested deeply."""
    return b"\x91\x93\xa8Unfollow\x01" + b"\x91" * levels


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000,
        deep(100_000),
        wire.encode([wire.Unfollow(1)] * (guests.MAX_MESSAGES + 1)),
        wire.encode([wire.StartCall("ca-1", "fn-1", kind="web", payloads=(b"A{}\n",))]),
        wire.encode([wire.StartCall("ca-1", "fn-1", payloads=(b"P" + bytes(256 * 1024),))]),
        wire.encode([wire.StartCall("c" * 201, "fn-1")]),
        wire.encode([wire.Inputs("ca-1", -1, (b"P",))]),
        wire.encode([wire.Inputs("ca-1", 0, (b"",) * 20_000)]),
        wire.encode([wire.ResumeCall("ca-1", ((0, 1),) * 20_000)]),
        wire.encode([wire.Grant("ca-1", 2**40)]),
        wire.encode([wire.EndInputs("ca-1", 2**40)]),
        wire.encode([wire.Ask(1, wire.HasBlobs(("ab",) * 1_000_000))]),
        wire.encode([wire.Ask(-1, wire.FindCall("ca-1"))]),
        wire.encode([wire.Ask(1, wire.PutSecret((("K", "v" * 300_000),)))]),
        msgspec.msgpack.encode([["Grant", "ca-1", struct.pack("!d", 1.0)]]),
    ],
    ids=range(17),
)
async def test_a_frame_that_is_none_ends_its_container_and_nothing_else(
    server: Server, client: Client, frame: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    guest = await guest_of(server, client)
    agent: Agent = guest._agent
    agent.say(wire.FromGuestLink(guest.container, frame))
    stopped = await client.wait(lambda: [m for m in agent.got(wire.StopContainer) if m.broke])
    assert [(m.container, m.kill) for m in stopped] == [(guest.container, True)]
    assert "broke the protocol" in stopped[0].broke
    assert "Traceback" not in stopped[0].broke
    assert "defect" not in caplog.text
    assert await client.ask(wire.HasBlobs(("bl-" + "0" * 32,))), "others are served"


async def test_what_is_large_and_carries_data_is_taken(server: Server, client: Client) -> None:
    guest = await guest_of(server, client)
    dict_id = await guest.ask(wire.OpenDict("d", create=True))
    assert await guest.ask(wire.DictOp(dict_id, "put", pairs=((b"k", bytes(20 * MIB)),)))
    id = await guest.ask(wire.PutBlob(b"P" + bytes(4 * MIB)))
    assert server.blobs.size(id) == 4 * MIB + 1


async def test_a_container_reads_only_blobs_that_it_made_or_that_are_results_for_it(
    server: Server, client: Client
) -> None:
    guest = await guest_of(server, client)
    others = server.blobs.put(b"Psomebody else's")
    refused = await guest.ask(wire.GetBlob(others))
    assert refused.code == "PermissionDeniedError"
    own = await guest.ask(wire.PutBlob(b"Pown"))
    assert await guest.ask(wire.GetBlob(own)) == b"Pown"

    reference = b'B{"id":"%s","bytes":4}' % others.encode()
    guest._agent.work = lambda method, payload: reference
    found = await guest.ask(wire.FindFunction("app", "g"))
    guest.send(wire.StartCall("ca-inner", found["function"], payloads=(b"P1",)))
    assert (await guest.until(wire.Results)).payloads == (reference,)
    assert await guest.ask(wire.GetBlob(others)) == b"Psomebody else's"


@pytest.mark.parametrize("kind", ["another's payload", "a source"])
async def test_a_container_does_not_pass_on_what_it_may_not_read(server: Server, client: Client, kind: str) -> None:
    """As the argument of a call to itself, it would be read for it."""
    guest = await guest_of(server, client)
    digest = "b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d2611184"
    id = server.blobs.put(b"Psecret") if kind == "another's payload" else f"sha256-{digest}"
    found = await guest.ask(wire.FindFunction("app", "g"))
    payload = b'B{"id":"%s","bytes":7}' % id.encode()
    guest.send(wire.StartCall("ca-1", found["function"], payloads=(payload,)))
    refused = await guest.until(wire.CallRefused)
    assert refused.code == "PermissionDeniedError"
    guest.send(wire.StartCall("ca-2", found["function"], kind="map", payloads=(b"P",), total=-1))
    guest.send(wire.Inputs("ca-2", 1, (payload,)))
    await client.wait(lambda: len([m for m in guest.messages() if isinstance(m, wire.CallRefused)]) == 2)
    assert not [run for run in guest._agent.got(wire.Run) if payload in run.payloads]


@pytest.mark.parametrize("body", [wire.HasBlobs(("sha256-" + "0" * 64,)), wire.PutBlob(b"x", digest="0" * 64)])
async def test_sources_are_nothing_for_containers(server: Server, client: Client, body: Any) -> None:
    guest = await guest_of(server, client)
    assert (await guest.ask(body)).code == "PermissionDeniedError"


def test_an_app_is_refused_while_there_is_room_for_others() -> None:
    shares = Shares(100, "things")
    shares.take("hostile", 50)
    with pytest.raises(Exception, match="wait for answers"):
        shares.take("hostile", 1)
    shares.take("honest", 50)
    with pytest.raises(Exception, match="wait for answers"):
        shares.take("another", 1)
    shares.give("hostile", 50)
    shares.take("another", 50)


async def test_asks_that_wait_are_bounded_for_an_app(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = await guest_of(server, client)
    server.guests._asked = Shares(8 * MIB, "asks")
    puts = [wire.Ask(100 + n, wire.PutBlob(bytes(MIB))) for n in range(8)]
    guest.send(*puts)
    answers = await client.wait(
        lambda: got if len(got := [m for m in guest.messages() if hasattr(m, "rid")]) == 8 else None
    )
    refused = [m.code for m in answers if isinstance(m, wire.Refused)]
    assert refused == ["ResourceExhaustedError"] * 5, "three of a little over a MiB are half of eight"
    assert await guest.ask(wire.PutBlob(bytes(MIB))), "when they are answered there is room again"


async def held_guest(server: Server, client: Client) -> tuple[Guest, str]:
    """One whose calls wait in a container that does not answer."""
    guest = await guest_of(server, client)
    guest._agent.hold = True
    found = await guest.ask(wire.FindFunction("app", "g"))
    return guest, found["function"]


async def test_arguments_of_calls_that_wait_are_bounded_for_an_app(server: Server, client: Client) -> None:
    guest, function = await held_guest(server, client)
    server.calls._held_for = Shares(4 * MIB, "arguments")
    payload = b"P" + bytes(200 * 1024)
    for n in range(20):
        guest.send(wire.StartCall(f"ca-{n}", function, payloads=(payload,)))
    await client.wait(lambda: [m for m in guest.messages() if isinstance(m, wire.CallRefused)])
    refused = [m for m in guest.messages() if isinstance(m, wire.CallRefused)]
    assert {m.code for m in refused} == {"ResourceExhaustedError"}
    assert len(refused) == 20 - 11, "what is over half is found by the next one"
    client.send(wire.StartCall("ca-own", function, payloads=(payload,)))
    await client.wait(lambda: server.calls.get("ca-own"))
    guest._agent.release()
    await client.wait(lambda: len([m for m in guest.messages() if isinstance(m, wire.Results)]) == 11)
    assert server.calls._held_for._total == 0, "nothing is kept for a container whose link cannot break"


async def test_calls_without_inputs_are_bounded_for_an_app(server: Server, client: Client) -> None:
    guest, function = await held_guest(server, client)
    server.calls._made_by = Shares(8, "calls")
    for n in range(10):
        guest.send(wire.StartCall(f"ca-{n}", function, kind="spawn", total=-1))
    await client.wait(lambda: len([m for m in guest.messages() if isinstance(m, wire.CallRefused)]) == 6)
    assert len(server.calls) == 4


async def test_a_container_leaves_no_gaps_among_its_inputs(server: Server, client: Client) -> None:
    """A gap is a byte for each input that is left out, up to 16 MiB for one call."""
    guest, function = await held_guest(server, client)
    guest.send(wire.StartCall("ca-1", function, kind="map", payloads=(b"P",), total=-1))
    guest.send(wire.Inputs("ca-1", table.MAX_GAP_INPUTS, (b"P",)))
    assert (await guest.until(wire.CallRefused)).code == "ResourceExhaustedError"


async def test_credit_for_a_generator_is_bounded_however_often_it_is_granted(server: Server, client: Client) -> None:
    guest, function = await held_guest(server, client)
    guest.send(wire.StartCall("ca-1", function, kind="gen", payloads=(b"P",)))
    for _ in range(5):
        guest.send(wire.Grant("ca-1", wire.MAX_CREDIT))
    await client.wait(lambda: guest._agent.held)
    assert await guest.ask(wire.OpenDict("d", create=True))
    call = server.calls.get("ca-1")
    assert call is not None
    assert call.credit == wire.MAX_CREDIT
    assert sum(m.credit for m in guest._agent.got(wire.GrantRun)) == wire.MAX_CREDIT


async def test_what_an_environment_stores_is_bounded_and_room_that_it_makes_is_found(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "MEASURE_S", 0.0)
    guest = await guest_of(server, client)
    server.dicts._quota._limit = 4 * MIB
    id = await guest.ask(wire.OpenDict("d", create=True))
    for n in range(3):
        assert await guest.ask(wire.DictOp(id, "put", pairs=((b"%d" % n, bytes(MIB)),)))
    refused = await guest.ask(wire.DictOp(id, "put", pairs=((b"3", bytes(2 * MIB)),)))
    assert refused.code == "ResourceExhaustedError"
    assert "environment_gib" in refused.message
    assert await guest.ask(wire.DictOp(id, "get", keys=(b"0",))) == bytes(MIB)
    for _ in range(8):  # what is replaced is counted again until it is measured
        await guest.ask(wire.DictOp(id, "put", pairs=((b"0", bytes(MIB)),)))
        await client.wait(lambda: not server.dicts._quota._counts["main"].measuring)
    assert await guest.ask(wire.DictOp(id, "put", pairs=((b"0", b"small"),)))
    await guest.ask(wire.DictOp(id, "clear"))
    assert (await guest.ask(wire.DictOp(id, "put", pairs=((b"3", bytes(3 * MIB)),)))).code == "ResourceExhaustedError"
    await client.wait(lambda: not server.dicts._quota._counts["main"].measuring)
    assert await guest.ask(wire.DictOp(id, "put", pairs=((b"3", bytes(3 * MIB)),))) is True


async def test_spawned_calls_of_an_environment_are_bounded_in_the_store(server: Server, client: Client) -> None:
    guest, function = await held_guest(server, client)
    server.durable._quota._limit = MIB
    payload = b"P" + bytes(200 * 1024)
    for n in range(8):
        guest.send(wire.StartCall(f"ca-{n}", function, kind="spawn", payloads=(payload,)))
    await client.wait(lambda: len([m for m in guest.messages() if isinstance(m, wire.CallRefused)]) == 3)
    await client.wait(lambda: len([m for m in guest.messages() if isinstance(m, wire.Accepted)]) == 5)
    assert len(server.durable) == 5
