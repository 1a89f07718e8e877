"""Large payloads by descriptor, between a client and a server of one machine."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inrush.client._shared import Shared
from inrush.errors import InvalidError, NotFoundError, RequestSizeError, ResourceExhaustedError
from inrush.linux import memory, messages
from inrush.server.payloads import memory as in_memory
from inrush.server.payloads.blobs import Blobs, new_id, referred_ids
from inrush.server.serve import Server

MIB = 1024 * 1024


def ask(home: Path, body: dict[str, Any], *fds: int) -> messages.Received:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as end:
        end.settimeout(10)
        end.connect(str(home / "run" / "blobs.sock"))
        messages.send(end, body, fds)
        return messages.receive(end)


def made(data: bytes) -> int:
    return memory.make([data])


async def test_what_was_passed_is_a_blob_and_comes_back_by_descriptor(server: Server, home: Path) -> None:
    id, fd = new_id(), made(b"0123456789")
    assert (await asyncio.to_thread(ask, home, {"put": id}, fd)).body == {"bytes": 10}
    os.close(fd)
    assert server.blobs.read(id, 3, 4) == b"3456"
    got = await asyncio.to_thread(ask, home, {"get": id})
    assert got.body == {"bytes": 10}
    assert bytes(memory.mapped(got.fds[0], 10)) == b"0123456789"
    with pytest.raises(OSError, match=r"\[Errno"):
        os.write(got.fds[0], b"x")
    messages.close_all(got.fds)


async def test_a_blob_in_a_file_comes_by_descriptor_too(server: Server, home: Path) -> None:
    id = server.blobs.put(b"in a file")
    got = await asyncio.to_thread(ask, home, {"get": id})
    assert bytes(memory.mapped(got.fds[0], 9)) == b"in a file"
    messages.close_all(got.fds)


async def test_what_is_not_sealed_or_not_there_is_refused_with_the_reason(server: Server, home: Path) -> None:
    fd = os.memfd_create("open", os.MFD_ALLOW_SEALING)
    refused = (await asyncio.to_thread(ask, home, {"put": new_id()}, fd)).body
    os.close(fd)
    assert refused is not None
    assert refused["code"] == InvalidError.__name__
    gone = (await asyncio.to_thread(ask, home, {"get": new_id()})).body
    assert gone is not None
    assert gone["code"] == NotFoundError.__name__


async def test_only_the_owner_can_open_the_socket(server: Server, home: Path) -> None:
    assert (home / "run" / "blobs.sock").stat().st_mode & 0o777 == 0o600


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs", 10 * MIB, 4 * MIB, durable_s=1000)


def test_one_over_the_limit_is_refused(blobs: Blobs) -> None:
    with pytest.raises(RequestSizeError, match="max_payload_mib"):
        blobs.adopt(made(bytes(5 * MIB)), new_id())


@pytest.mark.parametrize("id", ["", "sha256-" + "0" * 64, "bl-../../token", "bl-" + "0" * 31])
def test_an_id_is_a_random_one(blobs: Blobs, id: str) -> None:
    with pytest.raises(InvalidError, match="not a random id"):
        blobs.adopt(made(b"x"), id)


def test_memory_has_a_budget_and_a_number(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, "MAX_BLOBS", 2)
    for _ in range(2):
        blobs.adopt(made(b"x"), new_id())
    with pytest.raises(ResourceExhaustedError, match="MiB of memory"):
        blobs.adopt(made(b"x"), new_id())


def test_what_only_lingers_makes_room_and_who_reads_or_holds_it_keeps_it(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_memory, "MAX_BLOBS", 3)
    clock = [4e9]
    monkeypatch.setattr("time.time", lambda: clock[0])
    held, read, left = new_id(), new_id(), new_id()
    for id in (held, read, left):
        blobs.adopt(made(b"x"), id)
        blobs.hold([id])
        blobs.release([id])
    blobs.hold([held])
    clock[0] += 10
    assert blobs.read(read, 0, 1) == b"x"
    blobs.adopt(made(b"y"), new_id())
    assert (blobs.size(held), blobs.size(read)) == (1, 1)
    with pytest.raises(NotFoundError):
        blobs.size(left)
    with pytest.raises(ResourceExhaustedError, match="MiB of memory"):
        blobs.adopt(made(b"z"), new_id())


def test_what_nobody_holds_any_more_gives_its_memory_back(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    id, before = new_id(), len(os.listdir("/proc/self/fd"))
    blobs.adopt(made(b"x"), id)
    blobs.hold([id])
    clock = [0.0]
    monkeypatch.setattr("time.time", lambda: 4e9 + clock[0])
    blobs.sweep()
    assert blobs.size(id) == 1, "held"
    blobs.release([id])
    blobs.sweep()
    assert blobs.size(id) == 1, "somebody may be reading it still"
    clock[0] = 1e6
    blobs.sweep()
    with pytest.raises(NotFoundError):
        blobs.size(id)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_restarted_server_is_given_what_is_in_flight_again(opened: Callable[..., Any], home: Path) -> None:
    async with opened() as server:
        shared = Shared(home / "run" / "blobs.sock")
        data = secrets.token_bytes(1000)
        reference = await asyncio.to_thread(shared.give, [data], len(data))
        assert reference is not None
        (id,) = referred_ids([reference])
        assert server.blobs.read(id, 0, 1000) == data
    async with opened() as server:
        with pytest.raises(NotFoundError):
            server.blobs.size(id)
        await asyncio.to_thread(shared.again)
        assert server.blobs.read(id, 0, 1000) == data
        shared.release([reference])
        assert not shared._kept
    assert await asyncio.to_thread(shared.give, [data], len(data)) is None, "nobody is there: it goes the long way"
