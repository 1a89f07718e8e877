"""Blobs: how they are put, read, held and removed."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from inrush import wire
from inrush.errors import InvalidError, NotFoundError, RequestSizeError, ResourceExhaustedError
from inrush.server.payloads import blobs as module
from inrush.server.payloads.blobs import Blobs, referred_ids
from inrush.server.serve import Server
from inrush.wire import FunctionSpec

from .peers import Agent, Client

MIB = 1024 * 1024


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """Ten MiB in all, four in one."""
    return Blobs(tmp_path / "blobs", 10 * MIB, 4 * MIB, durable_s=1000)


def expire(blobs: Blobs, id: str) -> None:
    os.utime(blobs._path(id), (0, time.time() - 1))


def test_what_was_put_is_read_in_pieces(blobs: Blobs) -> None:
    id = blobs.put(b"0123456789")
    assert (blobs.read(id, 3, 4), blobs.read(id, 8, 100), blobs.size(id)) == (b"3456", b"89", 10)
    with blobs.open(id) as file:
        assert file.read() == b"0123456789"
    assert blobs.put(b"0123456789") != id, "a random id is the right to read it"


def test_a_blob_is_there_only_when_it_is_complete(blobs: Blobs) -> None:
    writer = blobs.create()
    writer.write(b"half")
    assert not blobs.exists(writer.id)
    assert writer.commit() == writer.id
    assert blobs.exists(writer.id)
    aborted = blobs.create()
    aborted.write(b"half")
    aborted.abort()
    with pytest.raises(NotFoundError):
        blobs.open(aborted.id)


def test_content_is_checked_against_its_digest(blobs: Blobs) -> None:
    digest = hashlib.sha256(b"source").hexdigest()
    assert blobs.put(b"source", digest) == blobs.put(b"source", digest) == f"sha256-{digest}"
    with pytest.raises(InvalidError, match="does not match"):
        blobs.put(b"other", digest)


@pytest.mark.parametrize("id", ["../token", "a/b", "", ".", "a\0b", "x" * 200])
def test_an_id_cannot_lead_out_of_the_directory(blobs: Blobs, id: str) -> None:
    with pytest.raises((InvalidError, NotFoundError)):
        blobs.open(id)


def test_a_blob_over_the_limit_is_refused_and_leaves_nothing(blobs: Blobs) -> None:
    with pytest.raises(RequestSizeError, match="max_payload_mib"):
        blobs.put(bytes(5 * MIB))
    assert list(blobs._directory.iterdir()) == []
    assert blobs._bytes == 0


def test_over_the_budget_the_first_to_expire_goes_and_what_is_held_stays(blobs: Blobs) -> None:
    ids = [blobs.put(bytes(3 * MIB)) for _ in range(3)]
    blobs.hold(ids[:1])
    expire(blobs, ids[1])
    blobs.put(bytes(3 * MIB))
    assert [blobs.exists(id) for id in ids] == [True, False, True]
    blobs.hold(ids[2:])
    blobs.hold([blobs.put(bytes(3 * MIB))])
    with pytest.raises(ResourceExhaustedError, match="blobs_gib"):
        blobs.put(bytes(3 * MIB))


def test_expired_blobs_are_swept_unless_they_are_held(blobs: Blobs) -> None:
    kept, gone = blobs.put(b"kept"), blobs.put(b"gone")
    blobs.hold([kept])
    for id in (kept, gone):
        expire(blobs, id)
    blobs.sweep()
    assert (blobs._path(kept).exists(), blobs._path(gone).exists()) == (True, False)
    blobs.release([kept])
    assert blobs._path(kept).stat().st_mtime <= time.time() + module.LINGER_S
    assert blobs._bytes == 4


def test_what_a_durable_call_refers_to_outlives_a_restart(blobs: Blobs, tmp_path: Path) -> None:
    id = blobs.put(b"result")
    blobs.hold([id], durable=True)
    part = blobs.create()
    part.write(b"never completed")
    again = Blobs(tmp_path / "blobs", 10 * MIB, 4 * MIB, durable_s=1000)
    assert again._path(id).stat().st_mtime > time.time() + 1000
    assert [path.name for path in (tmp_path / "blobs").iterdir()] == [id]
    assert again._bytes == 6


def test_only_payloads_that_stand_for_blobs_refer_to_some() -> None:
    assert referred_ids((b"P", b'B{"id":"bl-1","bytes":5}', b"B{broken", b'B{"id":5}', b"")) == ["bl-1"]


async def test_a_client_puts_and_gets_in_parts(client: Client) -> None:
    data = os.urandom(300_000)
    digest = hashlib.sha256(data).hexdigest()
    id = f"sha256-{digest}"
    assert await client.ask(wire.HasBlobs((id,))) == [id]
    await client.ask(wire.PutBlob(data[:100_000], digest, "up-1", last=False))
    await client.ask(wire.PutBlob(data[100_000:200_000], digest, "up-1", last=False))
    assert await client.ask(wire.PutBlob(data[200_000:], digest, "up-1", last=True)) == id
    assert await client.ask(wire.HasBlobs((id,))) == []
    assert await client.ask(wire.GetBlob(id, 250_000)) == data[250_000:]
    assert (await client.ask(wire.GetBlob("bl-" + "0" * 32))).code == "NotFoundError"
    assert (await client.ask(wire.PutBlob(b"x", "short"))).code == "InvalidError"


async def test_a_result_that_is_a_blob_stays_until_its_call_is_forgotten(server: Server, client: Client) -> None:
    id = server.blobs.put(b"Plarge")
    Agent(server, lambda method, payload: b'B{"id":"%s","bytes":6}' % id.encode())
    app = await client.start_app(FunctionSpec(name="f", module="m", qualname="f"))
    client.send(wire.StartCall("ca-1", app["functions"]["f"], payloads=(b"P",)))
    await client.results("ca-1", 1)
    expire(server.blobs, id)
    server.blobs.sweep()
    assert await client.ask(wire.GetBlob(id)) == b"Plarge"
    client.send(wire.ForgetCall("ca-1"))
    await client.ask(wire.HasBlobs(()))
    expire(server.blobs, id)
    server.blobs.sweep()
    assert await client.ask(wire.HasBlobs((id,))) == [id]


def test_what_is_held_or_kept_anew_while_a_sweep_is_under_way_stays(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, kept, expired = (blobs.put(b"12345") for _ in range(3))
    for id in (held, kept, expired):
        expire(blobs, id)
    listed = blobs._leavable

    def then_used() -> Sequence[tuple[float, str]]:
        found = listed()
        blobs.hold([held])
        assert blobs.exists(kept)
        return found

    monkeypatch.setattr(blobs, "_leavable", then_used)
    blobs.sweep()
    assert {path.name for path in blobs._directory.iterdir()} == {held, kept}
    assert blobs._bytes == 10


def test_what_is_counted_is_what_is_there_however_many_threads_write_and_sweep(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs", MIB, MIB, durable_s=1000)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(100):
                id = blobs.put(b"x" * 1000, owner=f"app-{number % 2}")
                blobs.hold([id])
                if turn % 2:
                    blobs.release([id])
                    with suppress(FileNotFoundError):
                        expire(blobs, id)
                if turn % 10 == 0:
                    blobs.sweep()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert failed == []
    there = sum(path.stat().st_size for path in blobs._directory.iterdir())
    assert blobs._bytes == there == sum(blobs._owned.values())
