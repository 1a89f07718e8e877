"""A listening socket, and uvicorn on it, with the limits of `protocols` and `connection_limits`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from inrush.errors import InvalidError
from inrush.server.port import protocols
from inrush.server.port.connection_limits import ConnectionLimits
from inrush.server.port.web_sockets import MAX_MESSAGE_BYTES, WebSocket

_BACKLOG = 2048


class Http(uvicorn.Server):
    """Serves an ASGI app by uvicorn, on the server's own event loop. The caller handles signals. What `X-Forwarded-For`
    and `-Proto` say of a request is believed of these proxies alone: anybody can write those headers."""

    def __init__(self, app: Any, limits: ConnectionLimits, proxies: str = "") -> None:
        config = protocols.Config(
            app,
            limits,
            http=_fastest(),
            ws=WebSocket,
            timeout_keep_alive=protocols.KEEP_ALIVE_S,
            log_config=None,
            log_level="error",
            access_log=False,
            lifespan="off",
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=3,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=proxies,
        )
        super().__init__(config)
        logging.getLogger("uvicorn.error").addFilter(_is_ours)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn reports an exception. All other lines are about callers that broke off, who must not be
    able to fill the log."""
    return record.exc_info is not None


def _fastest() -> type[asyncio.Protocol]:
    """The protocol of httptools if that is installed, else that of h11."""
    try:
        from inrush.server.port.with_httptools import HttpTools
    except ImportError:  # an optional part of uvicorn
        return protocols.H11
    return HttpTools


def bind(host: str, port: int) -> socket.socket:
    """Makes a listening socket. Raises `InvalidError` if the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # from now on clients wait; and no other server can bind the port
    except OSError as error:
        listener.close()
        raise InvalidError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --host and --port"
        ) from None
    listener.setblocking(False)
    return listener
