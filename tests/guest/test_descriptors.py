"""Large payloads that are passed by descriptor, in both directions."""

from __future__ import annotations

import array
import json
import os
import pickle
import socket
import sys
import types
from typing import Any

import pytest

from deadline import DEADLINE_S
from guest.guest_process import ERROR, OK, GuestProcess, arguments, value
from inrush import frames, parts
from inrush.linux import memory, messages

SIZE = 3 * 1024 * 1024


@pytest.fixture
def side(guest: GuestProcess) -> Any:
    """Our end of the socket that descriptors pass; the guest's goes with the next frame's first byte."""
    ours, theirs = messages.pair()
    ours.settimeout(DEADLINE_S)
    send = guest.send

    def first(header: dict[str, Any], *payloads: bytes) -> None:
        frame = frames.pack(header, payloads)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))]
        guest.socket.sendmsg([frame[:1]], rights)
        guest.socket.sendall(frame[1:])
        theirs.close()
        guest.send = send  # type: ignore[method-assign]

    guest.send = first  # type: ignore[method-assign]
    yield ours
    ours.close()


def give(side: socket.socket, id: str, data: bytes) -> bytes:
    fd = memory.make([data])
    messages.send(side, {"id": id, "bytes": len(data)}, [fd])
    os.close(fd)
    return b'B{"id":"%s","bytes":%d}' % (id.encode(), len(data))


def taken(side: socket.socket, reference: bytes) -> bytes:
    named, got = json.loads(reference[1:]), messages.receive(side)
    assert got.body == {"id": named["id"]}
    assert memory.sealed_size(got.fds[0]) == named["bytes"]
    data = bytes(memory.mapped(got.fds[0], named["bytes"]))
    messages.close_all(got.fds)
    return data


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_a_large_argument_and_a_large_result_pass_by_descriptor(
    guest: GuestProcess, side: socket.socket, keyword: str
) -> None:
    guest.load(f"{keyword} f(x):\n    return x[::-1]\n")
    data = os.urandom(SIZE)
    guest.run("ca-1", give(side, "bl-1", arguments(data)))
    status, reference = guest.result("ca-1")
    assert status == OK
    assert value(taken(side, reference)) == data[::-1]
    assert not [header for header, _ in guest.frames if header["t"] == "blob"]


def test_a_result_that_outlives_the_server_goes_in_pieces(guest: GuestProcess, side: socket.socket) -> None:
    guest.load("def f(n):\n    return b'x' * n\n")
    guest.run("ca-1", arguments(SIZE), kind="spawn")
    assert guest.result("ca-1")[0] == OK
    assert [header for header, _ in guest.frames if header["t"] == "blob"]


BUFFER = """
import pickle
class Block:
    def __init__(self, data):
        self.data = memoryview(data)
    def __reduce_ex__(self, protocol):
        return Block, (pickle.PickleBuffer(self.data),)
def f(n, block=None):
    if block is None:
        return Block(bytearray(n))
    block.data[0] = 7
    return block.data[0] + block.data[n]
"""


def test_buffers_pass_beside_the_pickle_and_can_be_written_to(
    guest: GuestProcess, side: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = types.ModuleType("program")
    exec(BUFFER, program.__dict__)
    monkeypatch.setitem(sys.modules, "program", program)
    guest.load(BUFFER)
    guest.run("ca-1", arguments(SIZE))
    back: Any = parts.load(taken(side, guest.result("ca-1")[1]))
    assert back.data.nbytes == SIZE
    value_ = ((5, program.Block(bytearray(b"x" * SIZE))), {})
    payload = parts.dump(lambda keep: pickle.dumps(value_, 5, buffer_callback=keep), b"P")
    assert isinstance(payload, parts.Parts)
    whole = b"".join(payload.pieces)
    payload.release()
    guest.run("ca-2", give(side, "bl-2", whole))
    assert value(guest.result("ca-2")[1]) == 7 + ord("x")


def test_an_argument_of_no_bytes_is_an_error_of_its_input_alone(guest: GuestProcess, side: socket.socket) -> None:
    guest.load("def f(x=1):\n    return x\n")
    guest.run("ca-1", give(side, "bl-1", b""))
    assert guest.result("ca-1")[0] == ERROR
    guest.run("ca-2", arguments(5))
    assert value(guest.result("ca-2")[1]) == 5
