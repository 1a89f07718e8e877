"""Addresses of endpoints as they are right for this program: what the server says of itself is true on its machine."""

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
    """The addresses by path of an answer, at the server as this program reaches it."""
    urls: dict[str, str] = dict(answer["urls"])
    server = str(settings.load()["server_url"].value).rstrip("/")
    return {name: server + urlsplit(url).path for name, url in urls.items()} if server else urls


def of_function(name: str, urls: dict[str, str]) -> dict[str, str]:
    """Of an app's endpoints those of one function or class, by method."""
    parts = [(full.partition("."), url) for full, url in urls.items()]
    return {method: url for (function, _, method), url in parts if function == name}


async def resolved(url: str, page: str) -> str:
    """The address by host name where that has a real domain and resolves here, else the one by path."""
    host = urlsplit(page).hostname or ""
    if host.endswith(".localhost"):
        return url
    found: Waiter[bool] = Waiter(RESOLVE_S)
    threading.Thread(target=lambda: found.set(_resolves(host)), daemon=True).start()
    try:
        return page if await found else url
    except TimeoutError:
        return url


def _resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except OSError:
        return False
