"""Payloads that are too large for a frame, in both directions."""

from __future__ import annotations

import json

import msgspec
import pytest

from guest.guest_process import ERROR, OK, GuestProcess, arguments, failure, value
from inrush import frames, parts, wire
from inrush.guest import protocol

SIZE = 9 * 1024 * 1024 + 17


def blob_of(guest: GuestProcess, reference: bytes) -> bytes:
    assert reference[:1] == b"B"
    named = json.loads(reference[1:])
    pieces = [f for f in guest.frames if f[0]["t"] == "blob" and f[0]["id"] == named["id"]]
    assert [header["last"] for header, _ in pieces] == [False] * (len(pieces) - 1) + [True]
    whole = b"".join(payloads[0] for _, payloads in pieces)
    assert len(whole) == named["bytes"]
    return whole


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_a_large_argument_and_a_large_result_cross_in_pieces(guest: GuestProcess, keyword: str) -> None:
    guest.load(f"{keyword} f(x):\n    return x[::-1]\n")
    data = bytes(range(256)) * (SIZE // 256)
    whole = arguments(data)
    pieces = [whole[at : at + frames.CHUNK_BYTES] for at in range(0, len(whole), frames.CHUNK_BYTES)]
    for n, piece in enumerate(pieces):
        guest.send({"t": "blob", "id": "b1", "last": n == len(pieces) - 1}, piece)
    guest.run("ca-1", b'B{"id":"b1","bytes":%d}' % len(whole))
    status, reference = guest.result("ca-1")
    assert status == OK
    assert value(blob_of(guest, reference)) == data[::-1]


def test_a_large_item_crosses_in_pieces(guest: GuestProcess) -> None:
    guest.load("def f():\n    yield b'x' * 1_000_000\n    yield 2\n")
    guest.run("ca-1", arguments(), kind="gen")
    guest.send({"t": "grant", "c": "ca-1", "i": 0, "x": 5})
    assert guest.result("ca-1")[0] == OK
    large, small = guest.items("ca-1")
    assert value(blob_of(guest, large)) == b"x" * 1_000_000
    assert value(small) == 2


def test_a_result_over_the_limit_is_an_error_that_names_both_sizes(guest: GuestProcess) -> None:
    guest.load("def f(n):\n    return b'x' * n\n", max_payload_bytes=2_000_000)
    guest.run("ca-1", arguments(3_000_000), arguments(1))
    status, payload = guest.result("ca-1", 0)
    assert status == ERROR
    assert failure(payload)["code"] == "RequestSizeError"
    assert "3,000" in failure(payload)["message"]
    assert "2,000,000" in failure(payload)["message"]
    assert guest.result("ca-1", 1)[0] == OK


def test_the_guest_and_the_schema_agree_on_codes() -> None:
    spoken = [protocol.PICKLE, protocol.JSON, protocol.ASGI, protocol.PARTS, protocol.BLOB]
    assert [codec.value for codec in wire.Codec] == spoken
    assert parts.CODEC == protocol.PARTS
    for name in ("OK", "ERROR", "TIMEOUT", "CANCELLED", "INTERNAL"):
        assert getattr(protocol, name) == wire.Status[name]
    assert wire.INLINE_LIMIT_BYTES == protocol.INLINE_LIMIT_BYTES


def test_a_failure_of_the_guest_is_read_by_the_schema() -> None:
    made = protocol.system_failure("StartupError", "why", "t", "tb")
    assert made[:1] == b"J"
    assert msgspec.json.decode(made[1:], type=wire.SystemFailure) == wire.SystemFailure(
        code="StartupError", message="why", type="t", traceback="tb"
    )
