"""URLs of endpoints as they are right for this program: the server knows its own addresses, and not always those by
which it is reached (a port that is forwarded, a proxy)."""

from __future__ import annotations

import socket
import threading
from typing import Any
from urllib.parse import urlsplit

from inrush import settings
from inrush.client._dual import Waiter
from inrush.errors import TimeoutError

RESOLVE_S = 3.0
"""So long a name server may take to say whether a name leads anywhere."""


def by_path(answer: dict[str, Any]) -> dict[str, str]:
    """The URLs by path of an answer. A name in them is what the server was told by its setting `public_url`, and stays;
    a number is its own address, in whose place comes the one by which this program reaches the server."""
    urls: dict[str, str] = dict(answer["urls"])
    server = _server()
    return {name: server + urlsplit(url).path if server and _is_own(url) else url for name, url in urls.items()}


def by_host(answer: dict[str, Any]) -> dict[str, str]:
    """The URLs by host name of an answer. Those below `localhost` mean this machine: they lead to a server elsewhere
    only through a port that is forwarded, and are left out if this program reaches it in another way."""
    pages: dict[str, str] = dict(answer["pages"])
    server = urlsplit(_server())
    if not server.hostname:
        return pages
    forwarded = f":{server.port}" if server.port else ""
    found = {}
    for name, page in pages.items():
        host = urlsplit(page).hostname or ""
        if not _is_local(host):
            found[name] = page
        elif _is_local(server.hostname):
            found[name] = f"{server.scheme}://{host}{forwarded}"
    return found


def of_function(name: str, urls: dict[str, str]) -> dict[str, str]:
    """Of an app's endpoints those of one function or class, by method."""
    parts = [(full.partition("."), url) for full, url in urls.items()]
    return {method: url for (function, _, method), url in parts if function == name}


async def resolved(url: str, page: str) -> str:
    """The URL by host name if it has a real domain that resolves here, else the one by path."""
    host = urlsplit(page).hostname or ""
    if not host or _is_local(host):
        return url
    found: Waiter[bool] = Waiter(RESOLVE_S)
    threading.Thread(target=lambda: found.set(_resolves(host)), daemon=True).start()
    try:
        return page if await found else url
    except TimeoutError:
        return url


def _server() -> str:
    return str(settings.load()["server_url"].value).rstrip("/")


def _is_local(host: str) -> bool:
    return host in ("localhost", "127.0.0.1", "::1") or host.endswith(".localhost")


def _is_own(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.replace(".", "").isdecimal() or ":" in host


def _resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except OSError:
        return False
