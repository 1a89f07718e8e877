"""A caller who sends more than an app takes, or takes nothing of what it sends, costs its own connection and no more:
no container is killed, and the server's memory does not grow."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from running_server import RunningServer, poll

from .test_http_port import UPGRADE
from .test_link_before_hello import masked

MIB = 1024 * 1024

PROGRAM = """
import asyncio
import inrush

app = inrush.App("flooded")

@app.function(max_containers=1, memory=256)
@inrush.concurrent(max_inputs=20)
@inrush.asgi_app()
def site():
    async def serve(scope, receive, send):
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await asyncio.sleep(3600)
        elif scope["type"] == "http" and scope["path"].endswith("/sleep"):
            await asyncio.sleep(3600)
        elif scope["type"] == "http" and scope["path"].endswith("/stream"):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        elif scope["type"] == "http":
            size, more = 0, True
            while more:
                event = await receive()
                size += len(event.get("body", b""))
                more = event.get("more_body", False)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(size).encode()})
    return serve
"""


@pytest.fixture
def flooded(own_server: RunningServer) -> Iterator[str]:
    """The URL of an endpoint in a real container."""
    own_server.start()
    done = own_server.inrush("deploy", str(own_server.write(PROGRAM)))
    assert done.returncode == 0, done.stdout + done.stderr
    url = json.loads((own_server.home / "run" / "server.json").read_text())["url"] + "/w/flooded-site"
    assert httpx.post(url + "/", content=b"abc", timeout=60, trust_env=False).text == "3"
    yield url
    assert own_server.inrush("app", "stop", "flooded").returncode == 0


def resident_mib(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def flood(url: str, head: str, block: bytes, most_bytes: int) -> socket.socket:
    """Sends until nothing more is taken for two seconds, or so much has been."""
    port = int(re.findall(r":(\d+)", url)[0])
    sock = socket.create_connection(("127.0.0.1", port), 5)
    sock.sendall(head.replace("PATH", url.partition(str(port))[2]).encode())
    sock.settimeout(2)
    sent = 0
    with contextlib.suppress(OSError):
        while sent < most_bytes:
            sent += sock.send(block)
    assert sent < most_bytes, "all of it was taken in"
    return sock


def test_floods_that_an_app_does_not_take_kill_no_container(flooded: str, own_server: RunningServer) -> None:
    container = own_server.containers()[0]["id"]
    before = resident_mib(own_server.pid)
    upgrade = "\r\n".join(["GET PATH/ws HTTP/1.1", "Host: 127.0.0.1", *UPGRADE, "", ""])
    post = "POST PATH/sleep HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\n"
    tiny = masked(2, 1) + b"z"
    sockets = [
        flood(flooded, upgrade, masked(2, MIB) + bytes(MIB), 300 * MIB),
        flood(flooded, upgrade, masked(2, 2 * MIB - 64) + bytes(2 * MIB - 64), 300 * MIB),
        flood(flooded, upgrade, tiny * 10_000, 300 * MIB),
        *[flood(flooded, post, bytes(MIB), 300 * MIB) for _ in range(6)],
    ]
    assert resident_mib(own_server.pid) - before < 100
    assert httpx.post(flooded + "/", content=bytes(3 * MIB), timeout=60, trust_env=False).text == str(3 * MIB)
    assert [one["id"] for one in own_server.containers()] == [container]
    for sock in sockets:
        sock.close()


def test_a_large_body_passes_as_fast_as_its_app_takes_it(flooded: str, own_server: RunningServer) -> None:
    answer = httpx.post(flooded + "/", content=iter([bytes(MIB)] * 200), timeout=120, trust_env=False)
    assert answer.text == str(200 * MIB)
    assert len(own_server.containers()) == 1


def test_clients_that_read_nothing_cost_little(flooded: str, own_server: RunningServer) -> None:
    before = resident_mib(own_server.pid)
    port = int(re.findall(r":(\d+)", flooded)[0])
    sockets = []
    for _ in range(15):
        sock = socket.create_connection(("127.0.0.1", port), 5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"GET /w/flooded-site/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        sockets.append(sock)
    level = [0.0]

    def settled() -> bool:
        """Whether two looks in a row see the same."""
        now = resident_mib(own_server.pid)
        same, level[0] = abs(now - level[0]) < 2, now
        time.sleep(1)
        return same

    poll(settled, 60)
    assert level[0] - before < 15 * 8
    for sock in sockets:
        sock.close()
