"""The agent's connection to a guest, over a real socket, with a peer that sends valid or invalid frames."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from deadline import DEADLINE_S
from inrush import frames
from inrush.agent.containers.guests import Guest
from inrush.server.payloads.blobs import Blobs
from inrush.wire import Run, Status

MIB = 1024 * 1024


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.answers: list[tuple[Any, ...]] = []
        self.spent_s: list[float] = []
        self.back: list[tuple[str, tuple[int, ...]]] = []
        self.items: list[tuple[Any, ...]] = []
        self.lines: list[tuple[str, str, str]] = []
        self.links: list[bytes] = []
        self.failures: list[tuple[str, bytes, str]] = []
        self.phases: tuple[tuple[str, float], ...] | None = None
        self.broke = ""
        self.defects: list[str] = []
        self.gone = asyncio.Event()

    def ready(self, phases: tuple[tuple[str, float], ...], why: str) -> None:
        self.phases = phases

    def failed(self, message: str, payload: bytes, traceback: str) -> None:
        self.failures.append((message, payload, traceback))

    def answered(self, *columns: Any) -> None:
        self.answers.append(columns[:4])
        self.spent_s.append(columns[4] if len(columns) > 4 else -1.0)

    def settled(self, *columns: Any) -> None:
        self.answers.append(columns)

    def check(self, call: str, indexes: tuple[int, ...]) -> None:
        return

    def defect(self, what: str) -> None:
        self.defects.append(what)

    def returned(self, call: str, indexes: tuple[int, ...]) -> None:
        self.back.append((call, indexes))

    def yielded(self, *columns: Any) -> None:
        self.items.append(columns)

    def printed(self, call: str, stream: str, text: str) -> None:
        self.lines.append((call, stream, text))

    def linked(self, frame: bytes) -> None:
        self.links.append(frame)

    def broken(self, why: str) -> None:
        self.broke = why

    def disconnected(self) -> None:
        self.gone.set()


class Peer:
    """The far end of the socket."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._parser = frames.Parser(frames.plain_header)
        self._frames: list[tuple[dict[str, Any], list[bytes]]] = []

    async def say(self, header: dict[str, Any], payloads: tuple[bytes, ...] = ()) -> None:
        """The agent may cut the link while this is still being written."""
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(self.end, frames.pack(header, payloads))

    async def hear(self) -> tuple[dict[str, Any], list[bytes]]:
        while not self._frames:
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.end, MIB), 10)
            assert data, "the agent closed the socket"
            self._frames += self._parser.feed(data)
        return self._frames.pop(0)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs", budget_bytes=200 * MIB, limit_bytes=100 * MIB, durable_s=60.0)


@pytest.fixture
async def link(blobs: Blobs) -> AsyncIterator[tuple[Guest, Peer, Heard]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    heard = Heard()
    guest = Guest(heard, blobs, max_payload_bytes=20 * MIB)
    await asyncio.get_running_loop().create_unix_connection(lambda: guest, sock=ours)
    yield guest, Peer(theirs), heard
    guest.close()
    theirs.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 (what is waited for knows nothing of events)
            await asyncio.sleep(0.005)


async def test_inputs_and_results_pass_in_columns(link: tuple[Guest, Peer, Heard]) -> None:
    guest, peer, heard = link
    guest.run(Run("co-1", "ca-1", "m", "map", (4, 5), (b"Pa", b"Pb")))
    header, payloads = await peer.hear()
    assert header == {"t": "run", "c": "ca-1", "m": "m", "k": "map", "i": [4, 5], "n": [2, 2]}
    assert payloads == [b"Pa", b"Pb"]
    await peer.say({"t": "out", "c": "ca-1", "i": [5, 4], "s": [0, 1]}, (b"Px", b"Py"))
    await until(lambda: heard.answers)
    assert heard.answers == [("ca-1", (5, 4), (0, 1), (b"Px", b"Py"))]
    assert heard.spent_s[0] < 0, "it did not say how long they ran"
    await peer.say({"t": "out", "c": "ca-1", "i": [6], "s": [0], "w": 250}, (b"Px",))
    await until(lambda: len(heard.answers) == 2)
    assert heard.spent_s[1] == 0.00025


async def test_a_guest_says_what_it_has_not_begun(link: tuple[Guest, Peer, Heard]) -> None:
    _, peer, heard = link
    await peer.say({"t": "back", "c": "ca-1", "i": [7, 8]})
    await until(lambda: heard.back)
    assert heard.back == [("ca-1", (7, 8))]


async def test_many_large_inputs_are_cut_into_frames_below_the_limit(link: tuple[Guest, Peer, Heard]) -> None:
    guest, peer, _ = link
    payload = b"P" + bytes(256 * 1024 - 1)
    guest.run(Run("co-1", "ca-1", "", "map", tuple(range(300)), (payload,) * 300))
    got: list[int] = []
    while len(got) < 300:
        header, payloads = await peer.hear()
        assert sum(map(len, payloads)) < frames.LIMIT_BYTES
        got += header["i"]
    assert got == list(range(300))


async def test_a_large_argument_arrives_in_pieces_before_its_input(
    link: tuple[Guest, Peer, Heard], blobs: Blobs
) -> None:
    guest, peer, _ = link
    content = os.urandom(9 * MIB)
    id = blobs.put(content)
    reference = b'B{"id":"%s","bytes":%d}' % (id.encode(), len(content))
    guest.run(Run("co-1", "ca-1", "", "remote", (0,), (reference,)))
    got = b""
    while True:
        header, payloads = await peer.hear()
        if header["t"] == "run":
            break
        assert header["id"] == id
        got += payloads[0]
    assert got == content
    assert payloads == [reference]


async def test_an_argument_whose_blob_is_gone_is_answered_with_that(link: tuple[Guest, Peer, Heard]) -> None:
    guest, _, heard = link
    guest.run(Run("co-1", "ca-1", "", "remote", (0,), (b'B{"id":"bl-nothere","bytes":1}',)))
    await until(lambda: heard.answers)
    call, indexes, statuses, payloads = heard.answers[0]
    assert (call, indexes, statuses) == ("ca-1", (0,), (Status.INTERNAL,))
    assert b"NotFoundError" in payloads[0]


async def test_a_large_result_becomes_a_blob_of_the_store(link: tuple[Guest, Peer, Heard], blobs: Blobs) -> None:
    _, peer, heard = link
    content = os.urandom(3 * MIB)
    await peer.say({"t": "blob", "id": "g1", "last": False}, (content[:MIB],))
    await peer.say({"t": "blob", "id": "g1", "last": True}, (content[MIB:],))
    await peer.say({"t": "out", "c": "ca-1", "i": [0], "s": [0]}, (b'B{"id":"g1","bytes":3}',))
    await until(lambda: heard.answers)
    payload = heard.answers[0][3][0]
    id = payload[1:].split(b'"')[3].decode()
    assert id != "g1"
    assert blobs.read(id, 0, 10 * MIB) == content


async def test_a_result_over_the_limit_becomes_an_error_and_leaves_nothing(
    link: tuple[Guest, Peer, Heard], tmp_path: Path
) -> None:
    _, peer, heard = link
    for n in range(6):
        await peer.say({"t": "blob", "id": "g1", "last": n == 5}, (bytes(4 * MIB),))
    await peer.say({"t": "out", "c": "ca-1", "i": [0], "s": [0]}, (b'B{"id":"g1","bytes":3}',))
    await until(lambda: heard.answers)
    _, _, statuses, payloads = heard.answers[0]
    assert statuses == (Status.ERROR,)
    assert b"RequestSizeError" in payloads[0]
    assert list((tmp_path / "blobs").iterdir()) == []


async def test_a_guest_cannot_name_a_blob_that_it_did_not_send(link: tuple[Guest, Peer, Heard], blobs: Blobs) -> None:
    _, peer, heard = link
    secret = blobs.put(b"Psecret")
    await peer.say({"t": "out", "c": "ca-1", "i": [0], "s": [0]}, (b'B{"id":"%s","bytes":7}' % secret.encode(),))
    await until(lambda: heard.broke)
    assert "not sent" in heard.broke
    assert heard.answers == []


@pytest.mark.parametrize(
    ("header", "payloads"),
    [
        ({"t": "nonsense"}, ()),
        ({}, ()),
        ({"t": "out", "c": "ca-1", "i": [0, 1], "s": [0]}, (b"P",)),
        ({"t": "out", "c": "ca-1", "i": ["0"], "s": [0]}, (b"P",)),
        ({"t": "out", "c": 7, "i": [0], "s": [0]}, (b"P",)),
        ({"t": "out", "c": "ca-1", "i": [0], "s": [7]}, (b"P",)),
        ({"t": "out", "c": "ca-1", "i": [0], "s": ["0"]}, (b"P",)),
        ({"t": "log", "c": "", "s": "system"}, (b"x",)),
        ({"t": "item", "c": "ca-1", "i": [0], "f": None}, (b"P",)),
        ({"t": "ready", "phases": [["a"]]}, ()),
        ({"t": "ready", "phases": [["a", -1]]}, ()),
        ({"t": "ready", "phases": [["a", 1]] * 65}, ()),
        ({"t": "ready", "other": 1}, ()),
        ({"t": "imported", "imports": [["a", 1.0]] * 513}, ()),
        ({"t": "back", "c": "ca-1", "i": []}, ()),
        ({"t": "back", "c": "ca-1", "i": [2**31]}, ()),
        ({"t": "back", "c": "c" * 101, "i": [0]}, ()),
        ({"t": "out", "c": "ca-1", "i": [-1], "s": [0]}, (b"P",)),
        ({"t": "out", "c": "ca-1", "i": [True], "s": [0]}, (b"P",)),
        ({"t": "out", "c": "ca-1", "i": [0], "s": [0], "w": 2**63}, (b"P",)),
        ({"t": "out", "c": "ca-1", "i": [0], "s": [0]}, (b"P" + bytes(256 * 1024),)),
        ({"t": "item", "c": "ca-1", "i": [0, 1], "f": 0}, (b"P",)),
        ({"t": "log", "c": "", "s": "stdout"}, ()),
        ({"t": "log", "c": "", "s": "stdout"}, (bytes(1024 * 1024 + 1),)),
        ({"t": "blob", "id": "g1", "last": False}, (b"a", b"b")),
        ({"t": "blob", "id": "g1", "last": False}, (bytes(4 * 1024 * 1024 + 1),)),
        ({"t": "blob", "id": "g1", "last": 1}, (b"a",)),
        ({"t": "link"}, ()),
        ({"t": "failed", "code": "x" * 70, "message": ""}, ()),
        ({"t": "failed", "code": "StartupError", "message": "", "tb": "x" * 32769}, ()),
        ({"t": "failed", "code": "StartupError", "message": ""}, (b"Jnot json",)),
    ],
)
async def test_a_guest_that_breaks_the_protocol_loses_its_link(
    link: tuple[Guest, Peer, Heard], header: dict[str, Any], payloads: tuple[bytes, ...]
) -> None:
    _, peer, heard = link
    await peer.say(header, payloads)
    await until(lambda: heard.broke)
    await asyncio.wait_for(heard.gone.wait(), 10)
    assert heard.answers == []


async def test_a_guest_that_does_not_read_loses_its_link(
    link: tuple[Guest, Peer, Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    guest, _, heard = link
    monkeypatch.setattr("inrush.agent.containers.guests.MAX_UNREAD_BYTES", 4 * MIB)
    for n in range(40):
        guest.run(Run("co-1", "ca-1", "", "map", (n,), (b"P" + bytes(250 * 1024),)))
    assert "unread" in heard.broke


async def test_cancelling_an_input_whose_blob_is_on_its_way_answers_it(
    link: tuple[Guest, Peer, Heard], blobs: Blobs
) -> None:
    guest, peer, heard = link
    id = blobs.put(bytes(60 * MIB))
    guest.run(Run("co-1", "ca-1", "", "remote", (0,), (b'B{"id":"%s","bytes":1}' % id.encode(),)))
    await peer.hear()
    guest.cancel("ca-1", (0,))
    await until(lambda: heard.answers)
    assert heard.answers[0][:3] == ("ca-1", (0,), (Status.CANCELLED,))


async def test_what_is_said_about_an_input_comes_after_it_however_large_it_is(
    link: tuple[Guest, Peer, Heard], blobs: Blobs
) -> None:
    guest, peer, _ = link
    id = blobs.put(bytes(9 * MIB))
    guest.run(Run("co-1", "ca-1", "", "gen", (0,), (b'B{"id":"%s","bytes":1}' % id.encode(),)))
    guest.about("ca-1", {"t": "grant", "c": "ca-1", "i": 0, "x": 5})
    guest.about("ca-2", {"t": "grant", "c": "ca-2", "i": 0, "x": 5})
    order = []
    while len(order) < 3:
        header, _ = await peer.hear()
        if header["t"] != "blob":
            order.append((header["t"], header["c"]))
    assert order == [("grant", "ca-2"), ("run", "ca-1"), ("grant", "ca-1")]


async def test_logs_items_links_and_readiness_are_passed_on(link: tuple[Guest, Peer, Heard]) -> None:
    _, peer, heard = link
    await peer.say({"t": "ready", "phases": [["import", 1.5]], "why": ""})
    await peer.say({"t": "log", "c": "ca-1", "s": "stdout"}, ("hé\n".encode(),))
    await peer.say({"t": "item", "c": "ca-1", "i": [0], "f": 3}, (b"Pa", b"Pb"))
    await peer.say({"t": "link"}, (b"frame",))
    await until(lambda: heard.links)
    assert heard.phases == (("import", 1.5),)
    assert heard.lines == [("ca-1", "stdout", "hé\n")]
    assert heard.items == [("ca-1", 0, 3, (b"Pa", b"Pb"))]
    assert heard.links == [b"frame"]
