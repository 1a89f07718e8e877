"""Frames between agent and guest, both ways: whatever arrives is a frame within its bounds, or is refused."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inrush import frames, wire
from inrush.agent.containers import headers
from inrush.agent.containers.container import Container
from inrush.agent.containers.deadlines import Deadlines
from inrush.agent.containers.guests import Guest
from inrush.agent.containers.held import Held
from inrush.guest import headers as told
from inrush.linux import messages

from .fuzzing import mutated, pieces, tried, values

KINDS = list(headers.FromGuest.__args__)
_info = {kind: msgspec.inspect.type_info(kind) for kind in KINDS}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def said(draw: st.DrawFn) -> bytes:
    """A frame with a header of the schema, or nearly, and payloads that fit it, or nearly."""
    kind = draw(st.sampled_from(KINDS))
    header = json.loads(msgspec.json.encode(draw(values(_info[kind]))))
    payloads = draw(st.lists(st.binary(max_size=12), max_size=4))
    header["n"] = draw(st.just([len(p) for p in payloads]) | st.lists(st.integers(-20, 20), max_size=4))
    if draw(st.booleans()):
        key = draw(st.sampled_from([*header, "other"]))
        header[key] = draw(json_values)
    head, body = json.dumps(header).encode(), b"".join(payloads)
    return struct.pack("!II", 4 + len(head) + len(body), len(head)) + head + body


def outcome(parser: frames.Parser[Any], parts: list[bytes]) -> tuple[list[Any], str]:
    """The frames, and the violation that ended them."""
    found: list[Any] = []
    fed = 0
    try:
        for part in parts:
            fed += len(part)
            found += parser.feed(part)
            assert parser.pending_bytes <= fed + 1
    except frames.FrameError as error:
        return found, str(error)
    return found, ""


@tried(150)
@given(st.data())
def test_any_bytes_are_frames_or_a_violation_however_they_arrive(data: st.DataObject) -> None:
    stream = b"".join(data.draw(st.lists(said() | st.binary(max_size=64), min_size=1, max_size=4)))
    if data.draw(st.booleans()):
        stream = data.draw(mutated(stream))
    cuts = data.draw(st.lists(st.integers(0, 1 << 16), max_size=6))
    for make in (headers.parser, told.parser, lambda: frames.Parser(frames.plain_header)):
        whole, why = outcome(make(), [stream])
        cut, cut_why = outcome(make(), pieces(stream, cuts))
        assert cut_why == why
        assert cut[: len(whole)] == whole, "where the stream is cut changes nothing but how soon a violation is seen"


@tried(150)
@given(said())
def test_what_is_taken_from_a_guest_is_within_its_bounds(frame: bytes) -> None:
    found, _ = outcome(headers.parser(), [frame])
    for header, payloads in found:
        assert list(map(len, payloads)) == list(header.lengths)
        again = msgspec.json.decode(msgspec.json.encode(header), type=headers.FromGuest)
        assert again == header, "all of it is of the schema's types and within its bounds"
        if isinstance(header, headers.Out):
            assert len(header.indexes) == len(header.statuses) == len(payloads) > 0


@tried(60)
@given(st.sampled_from(KINDS).flatmap(lambda kind: values(_info[kind])), st.data())
def test_what_the_schema_describes_is_taken_as_it_was_said(header: Any, data: st.DataObject) -> None:
    kind = type(header)
    count = len(header.indexes) if kind is headers.Out else headers._MAX_PAYLOADS.get(kind, 2)
    payloads = [data.draw(st.binary(max_size=9)) for _ in range(count)]
    if kind is headers.Out:
        header = msgspec.structs.replace(header, statuses=(0,) * count)
    fields = json.loads(msgspec.json.encode(header))
    fields.pop("n", None)
    found, why = outcome(headers.parser(), [frames.pack(fields, payloads)])
    assert why == ""
    assert found[0][1] == payloads
    assert msgspec.structs.replace(found[0][0], lengths=[]) == msgspec.structs.replace(header, lengths=[])


@tried(60)
@given(
    call=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9),
    indexes=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5, unique=True),
    credit=st.integers(0, 65_536),
    last=st.booleans(),
)
def test_what_an_agent_says_is_understood_by_its_guest(call: str, indexes: list[int], credit: int, last: bool) -> None:
    """Header by header as `guests.py`, `container.py` and `table.py` write them."""
    index, one = indexes[0], (b"x",)
    for header, payloads in (
        ({"t": "run", "c": call, "m": "", "k": "map", "i": tuple(indexes)}, (b"P",) * len(indexes)),
        ({"t": "cancel", "c": call, "i": tuple(indexes)}, ()),
        ({"t": "grant", "c": call, "i": index, "x": credit}, ()),
        ({"t": "feed", "c": call, "last": last, "gone": not last}, one),
        ({"t": "blob", "id": call, "last": last}, one),
        ({"t": "link"}, one),
        ({"t": "recall"}, ()),
        ({"t": "stop", "grace": credit / 7}, ()),
        ({"t": "load", "spec": {"module": call}}, one),
    ):
        found, why = outcome(told.parser(), [frames.pack(header, payloads, msgspec.json.encode)])
        assert why == "", header
        assert found[0][1] == list(payloads)


# ── a container and its guest, whatever that says ────────────────────────────────────────────────────────────────────

calls = st.sampled_from(["ca-1", "ca-gen", "ca-web", "ca-other"])
indexes = st.lists(st.integers(0, 3), min_size=1, max_size=3)


@st.composite
def speech(draw: st.DrawFn) -> bytes:
    """A well-formed frame about inputs, of which the container holds some."""
    call, which = draw(calls), draw(indexes)
    kind = draw(st.sampled_from(["out", "back", "item", "log", "blob", "link", "ready", "failed", "imported"]))
    payload = draw(st.sampled_from([b"Px", b"", b'B{"id":"g1","bytes":1}', b"B{", b"B" + b"[" * 5000, b"J{}"]))
    match kind:
        case "out":
            header = {"t": "out", "c": call, "i": which, "s": [draw(st.sampled_from([0, 1, 2, 6, 8])) for _ in which]}
            return frames.pack(header, (payload,) * len(which))
        case "back":
            return frames.pack({"t": "back", "c": call, "i": which})
        case "item":
            header = {"t": "item", "c": call, "i": which[:1], "f": draw(st.integers(0, 3))}
            return frames.pack(header, (payload,) * draw(st.integers(0, 3)))
        case "log":
            return frames.pack({"t": "log", "c": call, "s": "stdout"}, (draw(st.binary(max_size=9)),))
        case "blob":
            return frames.pack({"t": "blob", "id": "g1", "last": draw(st.booleans())}, (payload,))
        case "failed":
            return frames.pack({"t": "failed", "code": "StartupError", "message": "m"}, (payload,))
        case "imported":
            return frames.pack({"t": "imported", "imports": [["a", 1.0]] * draw(st.integers(0, 300))})
    return frames.pack({"t": kind}, (payload,) if kind == "link" else ())


class Kept:
    """A store of blobs that takes none, as one whose disk is full."""

    def create(self, digest: str = "", owner: str = "") -> Any:
        raise OSError(28, "No space left on device")

    def adopt(self, fd: int, id: str, owner: str = "") -> int:
        os.close(fd)
        raise OSError(28, "No space left on device")


async def _converse(parts: list[bytes]) -> list[Any]:
    put: list[Any] = []
    order = wire.StartContainer("co-1", "fn-1", "app", wire.FunctionSpec(name="f", module="m", qualname="f"))
    container = Container(order, put.append, lambda own: Guest(own, Kept(), 1 << 20))  # type: ignore[arg-type]
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    await asyncio.get_running_loop().create_unix_connection(lambda: container.guest, sock=ours)
    container.run(wire.Run("co-1", "ca-1", "", "map", (0, 1), (b"P", b"P")))
    container.run(wire.Run("co-1", "ca-gen", "", "gen", (0,), (b"P",)))
    container.run(wire.Run("co-1", "ca-web", "", "web", (0,), (b"A{}\n",)))
    container.grant(wire.GrantRun("co-1", "ca-gen", 0, 2))
    for part in parts:
        if container._end is None:
            container.guest.data_received(part)
    container.guest.close()
    theirs.close()
    if container._end is not None:
        assert "defect" not in container._end.why, container._end.why
    return put


@tried(120)
@given(st.lists(speech(), min_size=1, max_size=8))
def test_nothing_that_a_guest_says_is_a_defect_or_about_what_it_does_not_hold(parts: list[bytes]) -> None:
    put = asyncio.run(_converse(parts))
    held = {("ca-1", 0), ("ca-1", 1), ("ca-gen", 0), ("ca-web", 0)}
    for message in put:
        if isinstance(message, wire.Ran | wire.Returned):
            about = [(message.call, index) for index in message.indexes]
            assert held.issuperset(about), "each input ends once, and in the container that holds it"
            held.difference_update(about)
        elif isinstance(message, wire.Yielded):
            assert (message.call, message.index) in held
    items = [p for m in put if isinstance(m, wire.Yielded) and m.call == "ca-gen" for p in m.payloads]
    assert len(items) <= 2, "no more than was granted"


steps = st.one_of(
    st.tuples(st.just("grant"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("items"), st.integers(0, 6), st.integers(0, 3)),
)


@tried(100)
@given(st.lists(steps, max_size=12), st.sampled_from(["gen", "web", "map"]))
def test_items_come_in_order_and_within_their_credit(told_steps: list[tuple[str, int, int]], kind: str) -> None:
    held = Held(Deadlines(60.0, 1))
    held.gave("ca-1", kind, (0,), now=0.0)
    came, allowed = 0, frames.AHEAD_PIECES if kind == "web" else 0
    for what, number, count in told_steps:
        if what == "grant":
            held.granted("ca-1", 0, number)
            allowed += number
        elif kind != "map" and number == came and came + count <= allowed:
            assert held.yields("ca-1", 0, number, count)
            came += count
        else:
            with pytest.raises(frames.FrameError):
                held.yields("ca-1", 0, number, count)
            return  # its container is ended
    assert held.ended("ca-1", (0,), now=1.0) == []
    with pytest.raises(frames.FrameError):
        held.ended("ca-1", (0,), now=1.0)


# ── messages with descriptors ────────────────────────────────────────────────────────────────────────────────────────


@tried(80)
@given(
    st.binary(max_size=64) | json_values.map(lambda value: json.dumps(value).encode()),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_a_message_is_an_object_or_leaves_no_descriptor_behind(data: bytes, count: int, most: int) -> None:
    ours, theirs = messages.pair()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{count}i", *([0] * count)))] if count else []
    before = set(os.listdir("/proc/self/fd"))
    theirs.sendmsg([data], rights)
    try:
        got = messages.receive(ours, descriptors=most)
    except ValueError:
        assert set(os.listdir("/proc/self/fd")) == before
    else:
        assert len(got.fds) == (count if got.body is not None else 0) <= most
        messages.close_all(got.fds)
    for end in (ours, theirs):
        end.close()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_list_that_a_guest_may_send_is_bounded(kind: type) -> None:
    for field in _info[kind].fields:
        if isinstance(field.type, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
            limited = field.type.max_length is not None or field.name == "statuses"  # as many as there are payloads
            assert limited, f"{kind.__name__}.{field.name}"
