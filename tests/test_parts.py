"""Payloads of several parts."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from inrush import parts
from inrush.parts import LEAST_BYTES, Parts

np = pytest.importorskip("numpy")


def dumped(value: Any) -> bytes | Parts:
    return parts.dump(lambda keep: pickle.dumps(value, 5, buffer_callback=keep), b"P")


def whole(payload: bytes | Parts) -> bytearray:
    assert isinstance(payload, Parts)
    data = bytearray().join(payload.pieces)
    assert len(data) == len(payload)
    return data


def test_arrays_come_back_equal_writable_and_aligned() -> None:
    value = {
        "rows": np.arange(100_000, dtype=np.float64).reshape(100, 1000),
        "columns": np.asfortranarray(np.ones((300, 301))),
        "bytes": np.zeros(LEAST_BYTES + 3, dtype=np.uint8),
        "small": np.arange(3),
    }
    back: Any = parts.load(whole(dumped(value)))
    for name, array in value.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype
    back["rows"][0, 0] = 7.0
    assert back["rows"][0, 0] == 7.0


def test_what_has_no_large_buffer_is_a_plain_pickle() -> None:
    assert dumped([np.arange(10), b"x" * 1_000_000]) == b"P" + pickle.dumps([np.arange(10), b"x" * 1_000_000], 5)


def test_what_does_not_lie_in_one_piece_stays_in_the_pickle() -> None:
    array = np.zeros((1000, 1000))[::2, ::3]
    payload = dumped(array)
    np.testing.assert_array_equal(
        parts.load(whole(payload)) if isinstance(payload, Parts) else pickle.loads(payload[1:]), array
    )


@pytest.mark.parametrize("cut", [9, 30, 4096])
def test_a_payload_that_was_cut_is_an_error(cut: int) -> None:
    data = whole(dumped(np.zeros(LEAST_BYTES)))
    with pytest.raises(Exception, match=r"\w"):
        parts.load(memoryview(data)[:cut])


def test_the_buffers_are_not_copied() -> None:
    array = np.zeros(LEAST_BYTES)
    payload = dumped(array)
    assert isinstance(payload, Parts)
    assert any(
        np.shares_memory(np.frombuffer(piece, np.uint8), array) for piece in payload.pieces if len(piece) > LEAST_BYTES
    )
    data = whole(payload)
    back: Any = parts.load(data)
    assert np.shares_memory(back, np.frombuffer(data, np.uint8))


def test_a_payload_that_claims_more_buffers_than_it_can_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="more buffers"):
        parts.load(b"O" + bytes(7) + (2**60).to_bytes(8, "little") + bytes(64))


def test_released_parts_hold_no_buffer() -> None:
    array = np.zeros(LEAST_BYTES)
    payload = dumped(array)
    assert isinstance(payload, Parts)
    views = [piece for piece in payload.pieces if isinstance(piece, memoryview)]
    payload.release()
    for view in views:
        with pytest.raises(ValueError, match="released"):
            view.tobytes()
    array.resize(3, refcheck=False)


def test_dumping_says_what_pickling_says() -> None:
    with pytest.raises(TypeError, match="pickle"):
        dumped(n for n in ())
