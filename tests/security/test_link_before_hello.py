"""The WebSocket `/link` before a token is known: limits on size, time and number of connections."""

from __future__ import annotations

import asyncio
import os
import struct
from pathlib import Path

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from inrush import wire
from inrush.server.links import websocket
from inrush.server.port import web_sockets
from inrush.server.serve import Server
from server.conftest import client, home, opened, server

from .test_http_port import UPGRADE, Caller, get

__all__ = ["client", "home", "opened", "server"]  # fixtures

MIB = 1024 * 1024


def address(server: Server) -> str:
    return "ws" + server.url.removeprefix("http") + "/link"


def resident_mib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // MIB


def masked(opcode: int, length: int, fin: bool = True) -> bytes:
    """The head of a client's frame whose mask is zero."""
    first = bytes([(0x80 if fin else 0) | opcode])
    if length < 126:
        return first + bytes([0x80 | length]) + bytes(4)
    return first + b"\xff" + struct.pack("!Q", length) + bytes(4)


async def upgraded(server: Server, path: str = "/link") -> Caller:
    caller = await Caller(server).open()
    caller.send(get(path, *UPGRADE))
    head = await asyncio.wait_for(caller.reader.readuntil(b"\r\n\r\n"), 20)
    assert head.startswith(b"HTTP/1.1 101")
    return caller


async def welcomed(server: Server) -> ClientConnection:
    socket = await connect_socket(address(server), proxy=None)
    await socket.send(wire.encode([wire.Hello("cl-remote", token=server.token)]))
    first = await asyncio.wait_for(socket.recv(), 20)
    assert isinstance(wire.to_client_decoder.decode(first)[0], wire.Welcome)
    return socket


async def test_a_large_message_before_hello_ends_the_connection_and_is_not_kept(server: Server) -> None:
    before = resident_mib()
    for _ in range(12):
        caller = await upgraded(server)
        caller.send(masked(2, 60 * MIB) + b"\x91" * MIB)
        assert await caller.closed()
    assert resident_mib() - before < 30


async def test_a_message_of_endless_fragments_ends_the_connection(server: Server) -> None:
    caller = await upgraded(server)
    caller.send(masked(2, 0, fin=False) + masked(0, 0, fin=False) * (2 * web_sockets.MAX_FRAGMENTS))
    assert await caller.closed()


async def test_pings_whose_pongs_nobody_reads_end_the_connection(server: Server) -> None:
    caller = await upgraded(server)
    caller.writer.transport.pause_reading()  # type: ignore[attr-defined]
    ping = masked(9, 125) + bytes(125)
    for _ in range(2000):
        caller.send(ping * 100)
        await asyncio.sleep(0)
        if not server._http.config.limits._connections:
            break
    assert not server._http.config.limits._connections
    caller.abandon()


async def test_whoever_says_no_hello_has_little_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "HELLO_S", 0.5)
    silent = await upgraded(server)
    assert await silent.closed()


async def test_a_flood_of_strangers_does_not_lock_out_who_has_the_token(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "MAX_STRANGERS", 8)
    strangers = [await upgraded(server) for _ in range(30)]
    socket = await welcomed(server)
    assert await strangers[0].closed()
    await socket.close()
    for one in strangers:
        one.abandon()


async def test_after_hello_large_batches_pass(server: Server) -> None:
    socket = await welcomed(server)
    await socket.send(wire.encode([wire.Ask(1, wire.PutBlob(data=b"x" * (20 * MIB)))]))
    answer = wire.to_client_decoder.decode(await asyncio.wait_for(socket.recv(), 60))
    assert isinstance(answer[0], wire.Answer)
    await socket.close()


async def test_a_wrong_token_is_told_and_that_is_all(server: Server) -> None:
    socket = await connect_socket(address(server), proxy=None)
    await socket.send(wire.encode([wire.Hello("cl-x", token="wrong"), wire.Ask(1, wire.ListDicts())]))
    rejected = wire.to_client_decoder.decode(await asyncio.wait_for(socket.recv(), 20))
    assert [type(message) for message in rejected] == [wire.Rejected]
    with pytest.raises(ConnectionClosed):
        await asyncio.wait_for(socket.recv(), 20)


async def test_deep_and_broken_batches_are_no_defect(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    for data in (b"\x91" * 60_000, b"", b"\xc1", msgspec.msgpack.encode([1]), b"\xdd\xff\xff\xff\xff"):
        caller = await upgraded(server)
        length = len(data)
        caller.send(masked(2, length) + data)
        assert await caller.closed()
    assert "Traceback" not in caplog.text


async def test_compression_is_not_offered_so_that_nothing_is_inflated(server: Server) -> None:
    caller = await Caller(server).open()
    caller.send(get("/link", *UPGRADE, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
    head = await asyncio.wait_for(caller.reader.readuntil(b"\r\n\r\n"), 20)
    assert b"permessage-deflate" not in head.lower()
    caller.send(b"\xc2" + masked(2, 5)[1:] + b"abcde")  # a frame that says that it is compressed
    assert await caller.closed()


async def test_a_browsers_page_is_refused(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect_socket(address(server), proxy=None, origin="http://evil.example"):
            pass
    assert refused.value.response.status_code == 403


async def test_a_head_that_the_websocket_parser_does_not_take_ends_the_connection(server: Server) -> None:
    caller = await Caller(server).open()
    caller.send(get("/link", *UPGRADE, f"X: {'a' * 20_000}"))
    status, _ = await caller.answer()
    assert status == 400
    assert await caller.closed()
