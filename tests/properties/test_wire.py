"""The schema between client, server and agent: whatever arrives is a batch of its messages, or is refused as none."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inrush import wire
from inrush.server.links import guests

from .fuzzing import mutated, tried, values

DECODERS = {
    "from clients": wire.from_client_decoder,
    "to clients": wire.to_client_decoder,
    "from nodes": wire.from_node_decoder,
    "to nodes": wire.to_node_decoder,
}
_values = {name: values(msgspec.inspect.type_info(decoder._union)) for name, decoder in DECODERS.items()}
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=8) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=10,
)


def taken(decode: Any, frame: bytes) -> list[Any] | None:
    """The batch; None where it is refused as none. Anything else that is raised is a defect."""
    try:
        batch: list[Any] = decode(frame)
    except wire.UNREADABLE:
        return None
    return batch


@pytest.mark.parametrize("name", DECODERS)
@tried(25)
@given(st.data())
def test_what_is_said_is_understood_as_it_was_said(name: str, data: st.DataObject) -> None:
    batch = data.draw(st.lists(_values[name], max_size=3))
    assert DECODERS[name].decode(wire.encode(batch)) == batch


@pytest.mark.parametrize("name", DECODERS)
@tried(50)
@given(st.data())
def test_any_bytes_are_a_batch_or_none(name: str, data: st.DataObject) -> None:
    batch = data.draw(st.lists(_values[name], min_size=1, max_size=3))
    frame = data.draw(st.binary(max_size=64) | mutated(wire.encode(batch)) | plain.map(msgspec.msgpack.encode))
    got = taken(DECODERS[name].decode, frame)
    if got is not None:
        assert DECODERS[name].decode(wire.encode(got)) == got, "what is taken is of the schema, to its last field"


@tried(40)
@given(st.data())
def test_any_frame_of_a_container_is_few_messages_or_none(data: st.DataObject) -> None:
    batch = data.draw(st.lists(_values["from clients"], min_size=1, max_size=3))
    frame = data.draw(st.just(wire.encode(batch)) | st.binary(max_size=64) | mutated(wire.encode(batch)))
    small, got = taken(wire.from_client_decoder.decode, frame), taken(guests.decode, frame)
    assert got == small
    long = msgspec.msgpack.encode([wire.PutBlob(bytes(guests.MAX_SMALL_BYTES))])  # as one of many
    padded = wire.encode([*batch, wire.Ask(1, wire.PutBlob(bytes(guests.MAX_SMALL_BYTES)))])
    assert len(padded) > len(long) > guests.MAX_SMALL_BYTES
    assert taken(guests.decode, padded) == [*batch, wire.Ask(1, wire.PutBlob(bytes(guests.MAX_SMALL_BYTES)))]


@pytest.mark.parametrize("decode", [*(d.decode for d in DECODERS.values()), guests.decode], ids=[*DECODERS, "guests"])
@pytest.mark.parametrize("levels", [100, 10_000, 1_000_000])
def test_what_is_nested_deeply_is_refused(decode: Any, levels: int) -> None:
    for kind in (b"\x91", b"\x81\xa1a"):
        assert taken(decode, kind * levels) is None
        for tag in (b"\xa8Unfollow\x01", b"\xa9NodeState\xa1n"):
            taken(decode, b"\x91\x9f" + tag + kind * levels)


@pytest.mark.parametrize("row", [b"\xa0", b"\xa2ab", b"\xc4\x00", b"\xc4\x02ab", b"\x92\x00\x00", b"\x90", b"\x80"])
@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x91\x93\xa3Ask\x01\x92\xa8HasBlobs",
        b"\x91\x93\xa3Ask\x01\x95\xa6DictOp\xa1d\xa3get",
        b"\x91\x93\xa3Ask\x01\x96\xa6DictOp\xa1d\xa3put\x90",
        b"\x91\x94\xa6Inputs\xa1c\x00",
        b"\x91\x93\xaaResumeCall\xa1c",
        b"\x91\x93\xa3Ask\x01\x92\xa9PutSecret",
        b"\x91\x93\xa3Ask\x01\x94\xaaBuildImage\x82\xa4base\xa4host\xa5steps",
        b"\x91\x93\xa3Ask\x01\x92\xa8StartApp\x82\xa4name\xa1a\xa9functions",
    ],
)
def test_a_frame_of_a_container_does_not_become_much_memory(head: bytes, row: bytes) -> None:
    """An empty string is one byte in a frame, and fifty in memory: ten MiB of them would be half a gigabyte."""
    size = 10 * 1024 * 1024
    count = size // len(row)
    frame = head + b"\xdd" + count.to_bytes(4, "big") + row * count
    tracemalloc.start()
    try:
        taken(guests.decode, frame)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(frame), f"{peak >> 20} MiB"
