"""What an app may answer: where a response ends on its connection is for the server to say, since a proxy sends
requests for many apps over one connection. Each answer is read from a real socket, with both parsers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from inrush import wire
from inrush.server.gateway import asgi
from inrush.server.serve import Server
from server.conftest import client, home, opened, server
from server.peers import Agent, Client
from server.test_gateway import ended, items

from .test_http_port import WEB, Caller, get, parser

__all__ = ["client", "home", "opened", "parser", "server"]  # fixtures

FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
Headers = list[tuple[str, str]]


class App:
    """One that answers its first request with this, and each later one with `later`."""

    def __init__(self, server: Server, status: int, headers: Headers, body: bytes) -> None:
        self.server, self.agent = server, Agent(server, lambda method, payload: payload)
        answers = [({"type": "http.response.start", "status": status, "headers": headers}, body)]
        self.agent.on[wire.Run] = lambda run: self.answer(run, *(answers.pop() if answers else LATER))

    def answer(self, run: wire.Run, start: dict[str, Any], body: bytes) -> list[Any]:
        return [*items(run, (start, b""), ({"type": "http.response.body"}, body)), *ended(run)]

    async def told(self) -> bytes:
        """All that the server says to two requests, until it ends the connection."""
        caller = await Caller(self.server).open()
        caller.send(get("/w/app-f/") + get("/w/app-f/later", "Connection: close"))
        told = bytearray()
        while piece := await caller.reader.read(65536):
            told += piece
        return bytes(told)


LATER = ({"type": "http.response.start", "status": 200, "headers": [("content-length", "5")]}, b"later")


def framing(told: bytes) -> list[bytes]:
    """Headers of the first answer that say how it ends, and what becomes of its connection."""
    head = told.partition(b"\r\n\r\n")[0].lower()
    wanted = rb"\r\n((?:content-length|transfer-encoding|connection|keep-alive|upgrade|trailer|te):[^\r]*)"
    return re.findall(wanted, head)


@pytest.mark.parametrize("status", asgi.BODILESS)
async def test_a_body_behind_a_status_that_has_none_is_no_response(server: Server, client: Client, status: int) -> None:
    await client.start_app(WEB, deploy=True)
    told = await App(server, status, [("content-length", str(len(FORGED)))], FORGED).told()
    assert told.startswith(b"HTTP/1.1 %d " % status)
    assert b"forged" not in told
    assert b"content-length: %d" % len(FORGED) not in told


@pytest.mark.parametrize(
    "headers",
    [
        [("content-length", "0"), ("Content-Length", str(len(FORGED)))],
        [("content-length", "+44")],
        [("content-length", "4_4")],
        [("content-length", " 44")],
        [("content-length", "-1")],
        [("content-length", "44, 44")],
        [(f"x-{n}", "y") for n in range(asgi.MAX_HEAD_LINES + 1)],
        [("x", "y" * asgi.MAX_HEAD_BYTES)],
    ],
    ids=lambda headers: str(headers)[:40],
)
async def test_headers_that_two_clients_may_read_differently_are_an_error_of_the_app(
    server: Server, client: Client, headers: Headers
) -> None:
    await client.start_app(WEB, deploy=True)
    told = await App(server, 200, headers, FORGED).told()
    assert told.startswith((b"HTTP/1.1 500 ", b"HTTP/1.1 502 "))
    assert b"forged" not in told


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        ([("content-length", "5"), ("transfer-encoding", "chunked")], [b"content-length: 5"]),
        ([("transfer-encoding", "gzip, chunked")], [b"transfer-encoding: chunked"]),
        ([("Transfer-Encoding", "identity"), ("te", "x"), ("trailer", "x")], [b"transfer-encoding: chunked"]),
        (
            [("connection", "close, x-auth"), ("keep-alive", "timeout=9999"), ("upgrade", "h2c")],
            [b"transfer-encoding: chunked"],
        ),
    ],
)
async def test_headers_about_the_connection_are_the_servers_own(
    server: Server, client: Client, headers: Headers, left: list[bytes]
) -> None:
    await client.start_app(WEB, deploy=True)
    told = await App(server, 200, headers, b"hello").told()
    assert framing(told) == left
    assert b"hello" in told
    assert told.count(b"HTTP/1.1 200 ") == 2


def test_a_web_socket_is_accepted_in_the_servers_words() -> None:
    said = [["Sec-WebSocket-Accept", "x"], ["connection", "close"], ["content-length", "5"], ["x-own", "kept"]]
    accept = asgi.unpack(asgi.pack({"type": "websocket.accept", "headers": said}))
    assert accept["headers"] == [(b"x-own", b"kept")]
