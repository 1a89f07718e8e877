"""Values of Dicts are shown without executing any of them, whatever their bytes are, and within bounds."""

from __future__ import annotations

import decimal
import json
import os
import pickle
import pickletools
import tracemalloc
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inrush import wire
from inrush.server.dicts import pickles
from inrush.server.dicts.dicts import MAX_VALUE_BYTES
from inrush.server.dicts.pickles import Shown, shown, shown_payload
from inrush.server.serve import Server

from .peers import Client

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=40,
)


@given(PLAIN, st.sampled_from(range(6)))
def test_plain_data_is_shown_as_json_whatever_the_protocol(value: Any, protocol: int) -> None:
    found = shown(pickle.dumps(value, protocol))
    assert json.loads(found.text) == value


@given(st.binary(max_size=2000))
def test_any_bytes_are_told_of(data: bytes) -> None:
    found = shown(data)
    assert isinstance(found, Shown)
    assert found.bytes == len(data)


@given(st.lists(st.sampled_from([op.code.encode("latin-1") for op in pickletools.opcodes]), max_size=60), st.binary())
def test_any_operations_are_told_of(operations: list[bytes], tail: bytes) -> None:
    assert isinstance(shown(b"".join(operations) + tail + b"."), Shown)


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("exit 1",)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Evil(), "posix.system"),
        ([1, Evil()], "posix.system"),
        ({Evil(): 1}, "posix.system"),
        (decimal.Decimal(1), "decimal.Decimal"),
        (len, "builtins.len"),
        (3 + 4j, "builtins.complex"),
    ],
)
@pytest.mark.parametrize("protocol", range(6))
def test_what_is_more_than_data_is_named_by_its_type(value: Any, named: str, protocol: int) -> None:
    found = shown(pickle.dumps(value, protocol))
    assert found.text == ""
    assert found.type.partition(".")[2] == named.partition(".")[2] or found.type.startswith(("copy", "an object"))


def test_nothing_that_is_shown_is_a_command_to_a_terminal() -> None:
    hostile = "a\x1b[2J\x9b31m\u202e\U000e0001"
    for protocol in range(6):
        found = shown(pickle.dumps({hostile: [hostile]}, protocol))
        assert json.loads(found.text) == {hostile: [hostile]}
        assert found.text.isprintable()
    named = b"\x80\x04\x8c\x03\x1b[2\x8c\x01\x9b".replace(b"\x01\x9b", b"\x02\xc2\x9b") + b"\x93."
    assert shown(named).type == "\\u001b[2.\\u009b"


def test_other_plain_values_are_told_in_words() -> None:
    told = {
        "bytes": b"abc",
        "tuple": (1, 2),
        "set": {1},
        "large": 2**200,
        "inf": float("inf"),
        "key": {1: 2, (1, 2): 3},
    }
    assert json.loads(shown(pickle.dumps(told)).text) == {
        "bytes": "3 bytes",
        "tuple": [1, 2],
        "set": [1],
        "large": "an integer of 201 bits",
        "inf": "inf",
        "key": {"1": 2, "[1, 2]": 3},
    }


def test_a_small_pickle_does_not_unfold_into_a_large_text() -> None:
    laughs: Any = ["ha"]
    for _ in range(10):
        laughs = [laughs] * 10
    assert shown(pickle.dumps(laughs)) == Shown("", "a value with many parts", len(pickle.dumps(laughs)))
    cycle: list[Any] = []
    cycle.append(cycle)
    assert shown(pickle.dumps(cycle)).type == "a value of many levels"
    word = "x" * 50_000
    assert shown(pickle.dumps([word] * 100)).text == ""
    assert shown(b"x" * (pickles.MAX_READ_BYTES + 1)) == Shown("", "a large value", pickles.MAX_READ_BYTES + 1)
    assert shown(b"(" * (pickles.MAX_OPERATIONS + 2) + b".").type == "a value with many parts"
    assert shown(b"I" + b"9" * 100_000 + b"\n.").text == ""


def test_a_payload_is_read_by_its_codec() -> None:
    assert shown_payload(b"P" + pickle.dumps([1])).text == "[1]"
    assert shown_payload(b'J{"a": [1, 2]}').text == '{"a": [1, 2]}'
    assert shown_payload(b"J" + b"[" * 100_000).text == ""
    for unknown in (b"", b"B{}", b"M...", b"?"):
        assert shown_payload(unknown).text == ""


async def test_showing_a_large_dict_costs_little_memory_and_does_not_stop_the_server(
    server: Server, client: Client
) -> None:
    """Values of 32 MiB, and pickles of many operations, in a Dict that somebody looks into."""
    made = await client.ask(wire.OpenDict("heavy", create=True))
    for number in range(4):
        await client.ask(wire.DictOp(made, "put", pairs=((b"large%d" % number, b"P" + bytes(MAX_VALUE_BYTES - 1)),)))
    slow = b"P" + b"(" * (pickles.MAX_READ_BYTES - 2) + b"."
    for number in range(20):
        await client.ask(wire.DictOp(made, "put", pairs=((b"slow%d" % number, slow),)))
    headers = {"authorization": f"Bearer {server.token}"}
    async with httpx.AsyncClient(base_url=server.endpoints.base, headers=headers, trust_env=False, timeout=60) as http:
        tracemalloc.start()
        try:
            answer = await http.get("/api/v1/dicts/heavy/items", params={"limit": 1000})
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    shown_ones = answer.json()
    assert [item["value"] for item in shown_ones[:4]] == [
        {"text": "", "type": "a large value", "bytes": MAX_VALUE_BYTES}
    ] * 4
    assert 4 < len(shown_ones) < 24
    assert peak < 64 * 2**20
