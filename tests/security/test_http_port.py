"""What the HTTP port accepts before a token is known: heads, connections, bodies, names, origins. Each is tested over
real sockets, with both parsers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from inrush import wire
from inrush.server.port import listening, protocols, with_httptools
from inrush.server.serve import Server
from inrush.wire import FunctionSpec, Web
from server.conftest import client, home, opened, server
from server.peers import Client
from server.test_gateway import Site
from server.test_gateway import opened as scope_of

__all__ = ["client", "home", "opened", "server"]  # fixtures

WEB = FunctionSpec(name="f", module="m", qualname="f", web=(("", Web(kind="asgi")),))
PARSERS = {"h11": protocols.H11, "httptools": with_httptools.HttpTools}


@pytest.fixture(params=sorted(PARSERS), autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test runs with each of uvicorn's parsers."""
    monkeypatch.setattr(listening, "_fastest", lambda: PARSERS[request.param])
    return str(request.param)


class Caller:
    """One connection, byte by byte."""

    def __init__(self, server: Server) -> None:
        self.port = int(server.url.rpartition(":")[2])

    async def open(self) -> Caller:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        return self

    def send(self, data: bytes | str) -> None:
        self.writer.write(data.encode("latin-1") if isinstance(data, str) else data)

    async def answer(self) -> tuple[int, bytes]:
        """Status and all bytes of an answer with a length; (0, …) where the connection ends without one."""
        try:
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
            found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            body = await self.reader.readexactly(int(found[1])) if found else b""
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0, b""
        return int(head.split(b" ", 2)[1]), head + body

    async def closed(self, within_s: float = 20) -> bool:
        """Whether the server ends the connection in time; what still comes is dropped."""
        try:
            async with asyncio.timeout(within_s):
                while await self.reader.read(65536):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    async def drips(self, drop: bytes, within_s: float = 20) -> bool:
        """Sends a drop now and then; whether the server ends the connection in time."""
        ended = asyncio.ensure_future(self.closed(within_s))
        while not ended.done():
            self.send(drop)
            await asyncio.wait({ended}, timeout=0.05)
        return ended.result()

    def abandon(self) -> None:
        self.writer.transport.abort()


@pytest.fixture
async def call(server: Server) -> AsyncIterator[Callable[[bytes | str], Any]]:
    """Sends bytes over a connection of its own; the answer."""
    callers = []

    async def send(data: bytes | str) -> tuple[int, bytes]:
        caller = await Caller(server).open()
        callers.append(caller)
        caller.send(data)
        return await caller.answer()

    yield send
    for caller in callers:
        caller.abandon()


def get(path: str = "/", *headers: str, host: str = "127.0.0.1") -> str:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "", ""])


# ── heads ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_head_of_64_kib_is_taken_and_a_longer_one_is_not(call: Any) -> None:
    assert (await call(get("/", f"X: {'a' * 60_000}")))[0] == 200
    assert (await call(get("/", f"X: {'a' * 66_000}")))[0] == 431
    assert (await call(get("/" + "a" * 66_000)))[0] == 431


async def test_a_head_that_never_ends_is_cut_off_after_64_kib(server: Server) -> None:
    for line in (b"X: y\r\n", b"a" * 1000, b"X" * 500 + b":"):
        caller = await Caller(server).open()
        caller.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nLong: ")
        sent = 0
        while sent < 4 << 20 and not caller.writer.is_closing():
            caller.send(line * 10)
            sent += len(line) * 10
            if sent % 50_000 < len(line) * 10:
                await asyncio.sleep(0)
        status, _ = await caller.answer()
        assert status in (0, 431)
        assert await caller.closed()


async def test_a_head_of_many_lines_is_refused(call: Any) -> None:
    assert (await call(get("/", *[f"X-{n}: 1" for n in range(150)])))[0] == 200
    assert (await call(get("/", *[f"X-{n}: 1" for n in range(250)])))[0] == 431


async def test_blank_lines_before_a_head_do_not_hold_a_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "HEAD_S", 1.0)
    caller = await Caller(server).open()
    assert await caller.drips(b"\r\n")


async def test_a_head_that_comes_drop_by_drop_has_its_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocols, "HEAD_S", 1.0)
    silent, slow = await Caller(server).open(), await Caller(server).open()
    slow.send("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    assert await slow.drips(b"X: 1\r\n")
    assert await silent.closed()


async def test_requests_that_two_servers_may_read_differently_are_refused(call: Any) -> None:
    body = "\r\n\r\nabcde"
    heads = [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding: xchunked"],
        ["Content-Length: +5"],
        ["Content-Length: 5 "[:-1] + "a"],
        ["Host: 127.0.0.1"],
        ["Content-Length : 5"],
        [" folded: 5", "Content-Length: 5"],
        ["X: a\x00b"],
    ]
    for lines in heads:
        head = "\r\n".join(["POST /api/v1/secrets HTTP/1.1", "Host: 127.0.0.1", *lines]) + body
        status, _ = await call(head)
        assert status in ((400, 403) if lines[0].startswith(" ") else (400, 501)), (lines, status)


async def test_a_target_that_names_another_server_is_refused(call: Any) -> None:
    for target in ("http://127.0.0.1/api/v1/status", "http://evil.example/", "*", "127.0.0.1:80", "evil.example:443"):
        status, _ = await call(get(target))
        assert status in (400, 404), target
    for target in ("evil.example:443", "/"):
        assert (await call(f"CONNECT {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))[0] == 400, target
    assert (await call(get("/#/../api")))[0] == 400


async def test_versions_that_are_not_spoken_are_refused(call: Any) -> None:
    assert (await call("GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"))[0] == 200
    for version in ("0.9", "1.9", "2.0", "3.0"):
        assert (await call(f"GET / HTTP/{version}\r\nHost: 127.0.0.1\r\n\r\n"))[0] == 400, version
    chunked = "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert (await call(f"POST /api/v1/secrets HTTP/1.0\r\nHost: 127.0.0.1\r\n{chunked}"))[0] == 400


@pytest.mark.parametrize("framing", ["Content-Length: {length}", "Transfer-Encoding: chunked"])
async def test_the_body_of_a_request_that_offers_another_protocol_is_no_request(
    server: Server, client: Client, framing: str
) -> None:
    site = Site(server)
    await client.start_app(WEB, deploy=True)
    body = get("/w/app-f/smuggled")
    head = "POST /w/app-f/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    head += framing.format(length=len(body)) + "\r\n"
    sent = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n" if "chunked" in framing else body
    caller = await Caller(server).open()
    caller.send(head + "\r\n" + sent)
    caller.send(head + "Expect: 100-continue\r\n\r\n")
    await asyncio.wait_for(caller.reader.readuntil(b" 100 Continue\r\n\r\n"), 20)
    caller.send(sent + get("/w/app-f/last"))
    await client.wait(lambda: len(site.runs) == 3)
    runs = site.agent.got(wire.Run)
    assert [scope_of(run)[0]["scope"]["path"] for run in runs] == ["/w/app-f/", "/w/app-f/", "/w/app-f/last"]
    assert [len(site.bodies[run.call]) for run in runs] == [len(body), len(body), 0]
    caller.abandon()


async def test_trailers_are_counted_and_change_no_header(server: Server, client: Client, call: Any) -> None:
    site = Site(server)
    await client.start_app(WEB, deploy=True)
    chunked = "POST /w/app-f/ HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    caller = await Caller(server).open()
    caller.send(chunked + "X-Admin: yes\r\n\r\n")
    await client.wait(lambda: site.agent.got(wire.Run))
    assert b"x-admin" not in site.agent.got(wire.Run)[0].payloads[0].lower()
    caller.abandon()
    endless = await Caller(server).open()
    endless.send(chunked)
    for n in range(4000):
        endless.send(f"X-{n}: {'a' * 100}\r\n")
    assert await endless.closed()


async def test_who_asks_is_not_what_a_header_says(server: Server, client: Client, call: Any) -> None:
    site = Site(server)
    await client.start_app(WEB, deploy=True)
    said = ["X-Forwarded-For: 192.0.2.66", "X-Forwarded-Proto: https", "Forwarded: for=192.0.2.66;proto=https"]
    await call(get("/w/app-f/", *said))
    scope = scope_of(site.agent.got(wire.Run)[0])[0]["scope"]
    assert (scope["client"][0], scope["scheme"]) == ("127.0.0.1", "http")


async def test_a_proxy_that_the_server_was_told_of_says_who_asks(opened: Callable[..., Any]) -> None:
    async with opened(trusted_proxies="127.0.0.1") as server:
        site = Site(server)
        client = await Client(server.home / "run" / "server.sock").connect()
        await client.start_app(WEB, deploy=True)
        caller = await Caller(server).open()
        caller.send(get("/w/app-f/", "X-Forwarded-For: 192.0.2.66", "X-Forwarded-Proto: https"))
        await client.wait(lambda: site.agent.got(wire.Run))
        scope = scope_of(site.agent.got(wire.Run)[0])[0]["scope"]
        assert (scope["client"][0], scope["scheme"]) == ("192.0.2.66", "https")
        caller.abandon()
        await client.close()


# ── bodies ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_request_that_is_refused_is_not_read_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocols, "LINGER_S", 0.5)
    caller = await Caller(server).open()
    caller.send("POST /api/v1/secrets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\nx")
    status, _ = await caller.answer()
    assert status == 401
    assert await caller.drips(b"x")


async def test_a_body_that_comes_drop_by_drop_has_its_time(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "BODY_S", 1.0)
    Site(server)
    await client.start_app(WEB, deploy=True)
    caller = await Caller(server).open()
    caller.send("POST /w/app-f/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n")
    status, _ = await caller.answer()
    assert status == 408
    assert await caller.closed()


async def test_a_chunk_with_an_endless_extension_costs_no_memory(server: Server) -> None:
    caller = await Caller(server).open()
    caller.send("POST /w/none/ HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n1;")
    for _ in range(200):
        caller.send(b"a" * 10_000)
    assert await caller.closed()


# ── connections ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_silent_connections_give_way_to_callers(opened: Any) -> None:
    async with opened(max_peer_connections=20) as server:
        silent = [await Caller(server).open() for _ in range(60)]
        for caller in silent:
            caller.send("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        caller = await Caller(server).open()
        caller.send(get())
        assert (await caller.answer())[0] == 200
        assert len(server._http.config.limits) <= 20
        for one in [caller, *silent]:
            one.abandon()


async def test_connections_with_requests_under_way_are_not_given_up_for_others(opened: Any, home: Any) -> None:
    async with opened(max_peer_connections=5) as server:
        client = await Client(home / "run" / "server.sock").connect()
        site = Site(server)
        site.agent.on[wire.Run] = lambda run: []
        await client.start_app(WEB, deploy=True)
        callers = [await Caller(server).open() for _ in range(5)]
        for caller in callers:
            caller.send(get("/w/app-f/"))
        await client.wait(lambda: len(server.gateway._exchanges) == 5)
        late = await Caller(server).open()
        assert (await late.answer())[0] == 503
        assert len(server.gateway._exchanges) == 5
        for one in [late, *callers]:
            one.abandon()
        await client.wait(lambda: not server.gateway._exchanges)
        await client.close()


async def test_a_flood_of_pipelined_requests_is_served_in_order_or_cut_off(server: Server) -> None:
    caller = await Caller(server).open()
    caller.send(get() * 10)
    assert [(await caller.answer())[0] for _ in range(10)] == [200] * 10
    caller.send(get() * 100_000)
    statuses = [(await caller.answer())[0] for _ in range(1000)]
    served = statuses.index(0) if 0 in statuses else 1000
    assert set(statuses[: max(0, served - 1)]) <= {200}
    assert set(statuses[served:]) <= {0}
    caller.abandon()


# ── names and origins ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/", "/api/docs", "/api/openapi.json", "/api/v1/status", "/link", "/w/app-f/"])
async def test_every_route_is_refused_under_a_name_that_is_not_of_here(call: Any, path: str) -> None:
    for host in ("evil.com", "127.0.0.1.evil.com", "localhost.evil.com", "0.0.0.0", "2130706433", "127.1", "192.0.2.2"):
        assert (await call(get(path, host=host)))[0] == 403, host
    for host in ("", "localhost.", "127.0.0.1@evil.com", "[::ffff:127.0.0.1]", "[evil", "a b", "127.0.0.1#x", "::1"):
        assert (await call(get(path, host=host)))[0] in (400, 403), host
    no_host = (await call(f"GET {path} HTTP/1.0\r\n\r\n"))[0]
    assert no_host in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:80"])
async def test_names_of_loopback_are_answered(call: Any, host: str) -> None:
    assert (await call(get("/", host=host)))[0] == 200


async def test_a_server_for_others_answers_to_addresses_and_to_names_that_it_was_told(opened: Any) -> None:
    async with opened(host="0.0.0.0", allowed_hosts="gpu-box, api.example.org") as server:
        statuses = {}
        for host in ("10.1.2.3:80", "gpu-box", "API.example.org", "evil.com", "0.0.0.0", "x.gpu-box"):
            caller = await Caller(server).open()
            caller.send(get("/", host=host))
            statuses[host] = (await caller.answer())[0]
            caller.abandon()
    assert statuses == {
        "10.1.2.3:80": 200, "gpu-box": 200, "API.example.org": 200, "evil.com": 403, "0.0.0.0": 403, "x.gpu-box": 403,
    }  # fmt: skip


ORIGINS = [
    "http://evil.com", "null", "http://127.0.0.1:1", "https://127.0.0.1:PORT/", "http://localhost:PORT", "file://",
    "http://x.localhost:PORT", "http://evil.com@127.0.0.1:PORT", "chrome-extension://abc", "//", "http://[", "garbage",
]  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
async def test_pages_of_other_origins_reach_neither_the_api_nor_the_link(
    server: Server, call: Any, origin: str
) -> None:
    port = server.url.rpartition(":")[2]
    origin, host = origin.replace("PORT", port), f"127.0.0.1:{port}"
    token = f"Authorization: Bearer {server.token}"
    assert (await call(get("/api/v1/status", token, f"Origin: {origin}", host=host)))[0] == 403
    assert (await call(get("/api/docs", f"Origin: {origin}", host=host)))[0] == 403
    for path in ("/link", "/api/v1/shell"):
        assert (await call(get(path, token, f"Origin: {origin}", *UPGRADE, host=host)))[0] == 403
    own = (await call(get("/api/v1/status", token, f"Origin: http://{host}", host=host)))[0]
    assert own == 200


async def test_a_page_of_another_site_without_an_origin_is_known_by_its_fetch_headers(
    server: Server, call: Any
) -> None:
    token = f"Authorization: Bearer {server.token}"
    for site in ("cross-site", "same-site"):
        assert (await call(get("/api/v1/status", token, f"Sec-Fetch-Site: {site}", "Sec-Fetch-Mode: no-cors")))[
            0
        ] == 403


UPGRADE = (
    "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)  # fmt: skip
