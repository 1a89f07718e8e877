"""A hostile guest at the other end of its link: real sockets, real descriptors, frames as no guest of ours sends them.

`bomb.py`, `fdleak.py`, `gfd.py` and `forge.py` got through an earlier version; what each of them did is here, with
others of the same kind. What must hold: the guest loses its link, the agent keeps its memory and its descriptors.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import json
import os
import resource
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent.test_guests import Heard, until
from inrush import frames, wire
from inrush.agent.containers import guests, intake
from inrush.agent.containers.container import Container
from inrush.agent.containers.guests import Guest
from inrush.agent.containers.intake import Intake
from inrush.agent.containers.pace import MAX_FRAMES_AT_ONCE
from inrush.agent.payloads.descriptors import MAX_WAITING
from inrush.linux import memory, messages
from inrush.server.payloads.blobs import Blobs
from inrush.wire import Run, Status

MIB = 1024 * 1024


def raw(header: bytes, body: bytes = b"") -> bytes:
    """A frame with this header, however bad it is."""
    return struct.pack("!II", 4 + len(header) + len(body), len(header)) + header + body


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Hostile:
    """A guest's end, with the second socket that descriptors are passed by."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.side: socket.socket | None = None

    async def greeted(self) -> None:
        """Takes the first frame, and with it the second socket."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, controls, _, _ = self.end.recvmsg(MIB, socket.CMSG_SPACE(4))
                break
            except BlockingIOError:
                await asyncio.sleep(0.005)
        (fd,) = array.array("i", controls[0][2])
        self.side = socket.socket(fileno=fd)
        self.side.setblocking(False)
        await loop.sock_recv(self.end, MIB)

    async def say(self, data: bytes) -> None:
        """The agent may cut the link while this is still being written."""
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(self.end, data)

    def give(self, data: bytes, fds: list[int]) -> None:
        assert self.side is not None
        self.side.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs", budget_bytes=40 * MIB, limit_bytes=100 * MIB, durable_s=60.0)


Connect = Callable[..., Any]


@pytest.fixture
async def connect(blobs: Blobs) -> AsyncIterator[Connect]:
    """Makes guests that are linked, as a container would."""
    made: list[tuple[Guest, socket.socket]] = []
    ours_all = Intake()

    async def one(listener: Any = None, app: str = "app", blobs: Blobs = blobs) -> tuple[Guest, Hostile, Heard]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        heard = listener or Heard()
        guest = Guest(heard, blobs, 20 * MIB, ours_all, app)
        await asyncio.get_running_loop().create_unix_connection(lambda: guest, sock=ours)
        hostile = Hostile(theirs)
        guest.load({}, (), ours)
        await hostile.greeted()
        made.append((guest, theirs))
        return guest, hostile, heard

    yield one
    for guest, theirs in made:
        guest.close()
        theirs.close()


async def test_lengths_that_are_negative_do_not_multiply_what_was_sent(connect: Connect) -> None:
    _, hostile, heard = await connect()
    size = 8 * MIB
    lengths = [size, -size] * 150 + [size]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    header = json.dumps({"t": "log", "c": "", "s": "stdout", "n": lengths}).encode()
    await hostile.say(struct.pack("!II", 4 + len(header) + size, len(header)) + header)
    await until(lambda: heard.broke)
    assert "protocol" in heard.broke
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4 * 1024, "refused before its payload came"


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack("!II", 2**32 - 1, 10),
        struct.pack("!II", 3, 0),
        struct.pack("!II", 100, 200),
        struct.pack("!II", 40 * MIB, 30 * MIB),
        raw(b""),
        raw(b"["),
        raw(b"[" * 100_000),
        raw(b'{"t":"log","c":"","s":"stdout","n":' + b"[" * 100_000),
        raw(b'{"t":"ready","why":"' + b"\xff\xfe" + b'"}'),
        raw(b'{"t":"ready","why":"\\ud800"}'),
        raw(b'{"t":"ready","phases":[["a",NaN]]}'),
        raw(b'{"t":"ready","phases":[["a",1e999]]}'),
        raw(b'{"t":"out","c":"ca-1","i":[' + b"9" * 5000 + b'],"s":[0],"n":[1]}', b"P"),
        raw(b'{"t":"out","c":"ca-1","i":[0],"s":[0],"n":[1],"n":[2]}', b"P"),
        raw(b'{"t":"log","t":"out","c":"ca-1","i":[0],"s":[0],"n":[1]}', b"P"),
        raw(b'{"t":"log","c":"","s":"stdout","n":[1.0]}', b"P"),
        raw(b'{"t":"log","c":"","s":"stdout","n":[' + b"0," * 5000 + b"1]}", b"P"),
        raw(b'{"t":"log","c":"","s":"stdout","n":[2]}', b"P"),
    ],
    ids=range(18),
)
async def test_a_malformed_frame_costs_the_link_and_is_said_to_be_the_guests_fault(
    connect: Connect, frame: bytes
) -> None:
    _, hostile, heard = await connect()
    await hostile.say(frame)
    await until(lambda: heard.broke)
    assert "it broke the protocol of its link" in heard.broke
    assert not heard.defects
    assert not heard.answers


async def test_an_exception_of_ours_is_not_said_to_be_the_guests_fault(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Heard):
        def printed(self, call: str, stream: str, text: str) -> None:
            raise KeyError("a bug of ours")

    _, hostile, heard = await connect(Failing())
    await hostile.say(frames.pack({"t": "log", "c": "", "s": "stdout"}, (b"x",)))
    await until(lambda: heard.defects)
    assert not heard.broke
    await asyncio.wait_for(heard.gone.wait(), 10)


# ── descriptors ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _fifo(path: Path) -> int:
    os.mkfifo(path / "fifo")
    return os.open(path / "fifo", os.O_RDWR)


def _unsealed(path: Path) -> int:
    return os.memfd_create("open", os.MFD_ALLOW_SEALING)


def _file(path: Path) -> int:
    (path / "file").write_bytes(b"x")
    return os.open(path / "file", os.O_RDONLY)


KINDS: dict[str, Callable[[Path], int]] = {
    "a FIFO": _fifo,
    "a directory": lambda path: os.open(path, os.O_RDONLY),
    "a device": lambda path: os.open("/dev/null", os.O_RDWR),
    "a socket": lambda path: socket.socket(socket.AF_UNIX).detach(),
    "a file": _file,
    "a path": lambda path: os.open(path, os.O_PATH),
    "a memfd that is not sealed": _unsealed,
}
REFERENCE = b'B{"id":"x","bytes":1}'


async def refer(hostile: Hostile) -> None:
    """Has the agent look at what was passed: as a result of an input that the guest holds."""
    await hostile.say(frames.pack({"t": "out", "c": "ca-1", "i": [0], "s": [0]}, (REFERENCE,)))


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_no_sealed_memfd_is_closed_and_costs_the_link(
    connect: Connect, kind: str, tmp_path: Path
) -> None:
    _, hostile, heard = await connect()
    fd = KINDS[kind](tmp_path)
    before = open_descriptors()
    hostile.give(b'{"id":"x"}', [fd])
    await refer(hostile)
    await until(lambda: heard.broke)
    await until(lambda: open_descriptors() <= before)
    assert not heard.answers
    os.close(fd)


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"not json", 198),
        (b"not json", 253),
        (b'{"id":"x"}', 2),
        (b'{"id":"x"}', 0),
        (b'{"id":7}', 1),
        (b'{"id":""}', 1),
        (b'{"id":"' + b"x" * 200 + b'"}', 1),
        (b"[]", 1),
        (b"null", 1),
        (b"[" * 200_000, 3),
        (b"9" * 5000, 1),
    ],
    ids=range(11),
)
async def test_descriptors_that_come_with_nonsense_are_closed(connect: Connect, data: bytes, count: int) -> None:
    _, hostile, heard = await connect()
    fd = memory.make([b"P"])
    before = open_descriptors()
    hostile.give(data, [fd] * count)
    await refer(hostile)
    await until(lambda: heard.broke)
    await until(lambda: open_descriptors() <= before)
    assert not heard.defects
    os.close(fd)


async def test_an_empty_message_brings_no_descriptors_in(connect: Connect) -> None:
    """To the receiver it looks as if the other side had hung up."""
    _, hostile, heard = await connect()
    fd = memory.make([b"P"])
    before = open_descriptors()
    hostile.give(b"", [fd] * 100)
    await refer(hostile)
    await until(lambda: heard.broke)
    await until(lambda: open_descriptors() <= before)
    os.close(fd)


async def test_descriptors_that_nothing_refers_to_are_bounded_and_closed(connect: Connect) -> None:
    _, hostile, heard = await connect()
    fd = memory.make([b"P"])
    before = open_descriptors()
    for n in range(MAX_WAITING + 1):
        hostile.give(b'{"id":"g%d"}' % n, [fd])
    await refer(hostile)
    await until(lambda: heard.broke)
    await until(lambda: open_descriptors() <= before)
    os.close(fd)


def test_cut_control_data_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = messages.pair()
    monkeypatch.setattr(messages, "_SPACE", socket.CMSG_SPACE(4 * 4))
    fd = os.open("/dev/null", os.O_RDONLY)
    before = open_descriptors()
    messages.send(theirs, {"a": 1}, [fd] * 20)
    with pytest.raises(ValueError, match="cut"):
        messages.receive(ours)
    assert open_descriptors() == before
    for end in (ours, theirs):
        end.close()
    os.close(fd)


def test_closing_a_descriptor_does_not_wait_for_what_its_sender_put_into_it() -> None:
    """A TCP socket with unsent data and SO_LINGER makes its last close wait for as long as it says."""
    listener = socket.create_server(("127.0.0.1", 0))
    talker = socket.create_connection(listener.getsockname())
    talker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 600))
    talker.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while talker.send(bytes(MIB)):
            pass
    ours, theirs = messages.pair()
    theirs.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [talker.fileno()]))])
    talker.close()
    with pytest.raises(ValueError, match="Expecting"):
        messages.receive(ours)  # the test's own time limit is what fails
    for end in (ours, theirs, listener):
        end.close()


def test_an_end_that_wants_no_descriptors_is_given_none() -> None:
    ours, theirs = messages.pair()
    messages.refuse_descriptors(ours)
    fd = os.open("/dev/null", os.O_RDONLY)
    before = open_descriptors()
    try:
        messages.send(theirs, {"a": 1}, [fd] * 190)
    except PermissionError:
        pass  # this kernel tells the sender
    else:
        with pytest.raises(ValueError, match="descriptors"):
            messages.receive(ours, descriptors=0)
    assert open_descriptors() == before
    for end in (ours, theirs):
        end.close()
    os.close(fd)


# ── what a guest may speak about ─────────────────────────────────────────────────────────────────────────────────────


class Made:
    """A real container, of which only the process is missing."""

    def __init__(self, blobs: Blobs) -> None:
        self.said: list[Any] = []
        spec = wire.FunctionSpec(name="f", module="program", qualname="f")
        order = wire.StartContainer("co-1", "fn-1", "app", spec)
        self.guests: list[Guest] = []
        self.container = Container(order, self.said.append, self._guest)
        self._blobs = blobs

    def _guest(self, container: Container) -> Guest:
        return Guest(container, self._blobs_later(), 20 * MIB)

    def _blobs_later(self) -> Any:
        return None

    @property
    def ended(self) -> str:
        end = self.container._end
        return end.why if end is not None else ""


@pytest.fixture
async def made(blobs: Blobs) -> AsyncIterator[tuple[Made, Hostile]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    made = Made(blobs)
    guest = made.container.guest
    await asyncio.get_running_loop().create_unix_connection(lambda: guest, sock=ours)
    yield made, Hostile(theirs)
    guest.close()
    theirs.close()


def out(call: str, *indexes: int) -> bytes:
    header = {"t": "out", "c": call, "i": list(indexes), "s": [0] * len(indexes)}
    return frames.pack(header, (b"Pforged",) * len(indexes))


@pytest.mark.parametrize(
    "frame",
    [
        out("ca-other", 0),
        out("ca-1", 1),
        out("ca-1", 0, 0),
        out("ca-1", 0) + out("ca-1", 0),
        frames.pack({"t": "back", "c": "ca-other", "i": [0]}),
        frames.pack({"t": "item", "c": "ca-other", "i": [0], "f": 0}, (b"Px",)),
        frames.pack({"t": "item", "c": "ca-1", "i": [0], "f": 0}, (b"Px",)),
        frames.pack({"t": "item", "c": "ca-gen", "i": [0], "f": 0}, (b"Px",) * 3),
        frames.pack({"t": "item", "c": "ca-gen", "i": [0], "f": 1}, (b"Px",)),
        frames.pack({"t": "item", "c": "ca-gen", "i": [0], "f": 0}, (b"Px",))
        + frames.pack({"t": "item", "c": "ca-gen", "i": [0], "f": 0}, (b"Px",)),
        frames.pack({"t": "item", "c": "ca-web", "i": [0], "f": 0}, (b"Ax",) * (frames.AHEAD_PIECES + 1)),
        frames.pack({"t": "ready"}) * 2,
        frames.pack({"t": "ready"}) + frames.pack({"t": "failed", "code": "E", "message": "late"}),
        frames.pack({"t": "imported", "imports": [["a", 1.0]] * 300}) * 2,
    ],
    ids=range(14),
)
async def test_a_guest_speaks_only_about_what_it_was_given(made: tuple[Made, Hostile], frame: bytes) -> None:
    own, hostile = made
    own.container.run(Run("co-1", "ca-1", "", "map", (0,), (b"P",)))
    own.container.run(Run("co-1", "ca-gen", "", "gen", (0,), (b"P",)))
    own.container.run(Run("co-1", "ca-web", "", "web", (0,), (b"A{}\n",)))
    own.container.grant(wire.GrantRun("co-1", "ca-gen", 0, 2))
    await hostile.say(frame)
    await until(lambda: own.ended)
    assert "it broke the protocol of its link" in own.ended
    told = [m for m in own.said if isinstance(m, wire.Ran)]
    assert all(m.call == "ca-1" and m.indexes == (0,) for m in told)
    assert len(told) <= 1


async def test_output_is_tagged_only_with_calls_of_the_container(made: tuple[Made, Hostile]) -> None:
    own, hostile = made
    own.container.run(Run("co-1", "ca-1", "", "map", (0,), (b"P",)))
    for call in ("ca-1", "ca-other"):
        await hostile.say(frames.pack({"t": "log", "c": call, "s": "stdout"}, (b"x\n",)))
    await until(lambda: len(own.said) == 2)
    assert [line.call for line in own.said] == ["ca-1", ""]


async def test_an_answer_that_crosses_a_cancellation_of_ours_is_passed_over(made: tuple[Made, Hostile]) -> None:
    own, hostile = made
    own.container.run(Run("co-1", "ca-1", "", "map", (0, 1), (b"P", b"P")))
    own.container.settled("ca-1", (0,), (int(Status.CANCELLED),), (b"J{}",))
    await hostile.say(out("ca-1", 0, 1))
    await until(lambda: len(own.said) == 2)
    assert (own.said[1].indexes, own.said[1].payloads) == ((1,), (b"Pforged",))
    assert not own.ended


# ── all of them together ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_half_a_frame_is_not_waited_for_forever(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    guest, hostile, heard = await connect()
    await hostile.say(struct.pack("!II", 1000, 10))
    await until(lambda: guest._begun_at)
    guest.check_time(guest._begun_at + guests.FRAME_S - 1)
    assert not heard.broke
    guest.check_time(guest._begun_at + guests.FRAME_S + 1)
    assert "unfinished" in heard.broke


async def test_a_byte_at_a_time_does_not_begin_the_frame_anew(connect: Connect) -> None:
    guest, hostile, _ = await connect()
    await hostile.say(struct.pack("!II", 1000, 10))
    await until(lambda: guest._begun_at)
    began = guest._begun_at
    for n in range(5):
        await hostile.say(b" ")
        await until(lambda n=n: guest._parser.pending_bytes == 9 + n)
    assert guest._begun_at == began


async def test_of_many_unfinished_frames_those_of_the_hungriest_app_go(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MAX_PARTIAL_BYTES", 4 * MIB)
    together = Intake()
    header = json.dumps({"t": "link", "n": [40 * MIB]}).encode()
    begun = struct.pack("!II", 4 + len(header) + 40 * MIB, len(header)) + header + bytes(MIB)
    own = []
    for app in ("honest", "hostile", "hostile", "hostile"):
        guest, hostile, heard = await connect(app=app)
        guest._intake = together
        own.append((guest, hostile, heard))
    for guest, hostile, _ in own:
        await hostile.say(begun)
        await until(lambda guest=guest: guest._parser.pending_bytes > MIB)
    await own[3][1].say(bytes(MIB))
    await until(lambda: any(heard.broke for _, _, heard in own))
    assert [bool(heard.broke) for _, _, heard in own] == [False, True, False, False]
    assert together.partial.total <= 4 * MIB


async def test_one_app_does_not_take_all_descriptors(connect: Connect) -> None:
    together = Intake()
    together._max_descriptors = 8
    taken = [together.take_descriptor("hostile") for _ in range(10)]
    assert taken == [True] * 4 + [False] * 6
    assert together.take_descriptor("honest")
    together.give_descriptor("hostile")
    assert together.take_descriptor("hostile")


async def test_one_app_does_not_take_the_room_of_all_large_payloads(connect: Connect, blobs: Blobs) -> None:
    _, hostile, heard = await connect(app="hostile")
    for n in range(8):
        await hostile.say(frames.pack({"t": "blob", "id": f"g{n}", "last": True}, (bytes(4 * MIB),)))
    await hostile.say(frames.pack({"t": "out", "c": "ca-1", "i": [0], "s": [0]}, (b'B{"id":"g7","bytes":1}',)))
    await until(lambda: heard.answers)
    assert heard.answers[0][2] == (Status.ERROR,)
    assert b"ResourceExhaustedError" in heard.answers[0][3][0]
    assert blobs.put(bytes(15 * MIB)), "others have their half"


async def test_a_flood_of_frames_leaves_the_loop_to_others(connect: Connect) -> None:
    _, hostile, heard = await connect()
    frame = frames.pack({"t": "log", "c": "", "s": "stdout"}, (b"",))
    flood = asyncio.create_task(hostile.say(frame * 40_000))
    most = had = 0
    while had < 10_000:
        await asyncio.sleep(0)
        most, had = max(most, len(heard.lines) - had), len(heard.lines)
    flood.cancel()
    assert heard.broke == ""
    assert most <= 2 * MAX_FRAMES_AT_ONCE, "in one turn of the loop; a whole read of them is 8,000 frames"


async def test_a_frame_behind_a_flood_is_handled_though_the_guest_hangs_up(connect: Connect) -> None:
    _, hostile, heard = await connect()
    await hostile.say(frames.pack({"t": "log", "c": "", "s": "stdout"}, (b"",)) * 3000)
    await hostile.say(frames.pack({"t": "log", "c": "", "s": "stderr"}, (b"last words",)))
    hostile.end.close()
    await until(lambda: heard.gone.is_set())
    assert heard.lines[-1] == ("", "stderr", "last words")
    assert len(heard.lines) == 3001
