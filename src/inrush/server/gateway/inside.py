"""Endpoints for containers: a listener at the address that the containers of this node have for it. It serves endpoints
and nothing else.

    container ── http://GATEWAY:PORT/<key of the endpoint>/w/<label>/… ──▶ the gateway

The network of containers keeps them from all addresses of the node, so the URLs that users have do not lead anywhere
there. The listener is the launcher's, which lets containers connect to it; it is opened when a container asks for a URL
first. It has neither the API nor the link of clients.

A path begins with a key that only code of the endpoint's environment can ask for, so that no container reaches
endpoints of another environment, and none that may ask for nothing (`restrict_access`) reaches any. An endpoint sees
the key in the paths that it serves, so each has a key of its own. Otherwise callers from inside are treated as all
callers of endpoints are: they are strangers, with limits on their connections, heads and bodies.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from inrush.errors import Error
from inrush.server.apps.endpoints import Endpoints
from inrush.server.apps.functions import Functions
from inrush.server.gateway import refusals
from inrush.server.gateway.gateway import Gateway
from inrush.server.port.connection_limits import ConnectionLimits
from inrush.server.port.listening import Http
from inrush.server.trust.environments import Environments

log = logging.getLogger(__name__)

_KEY_BYTES = 16
DESCRIPTORS_SHARE = 8
"""Connections of containers may take one part in so many of this process's limit of descriptors."""
Entrance = Callable[[], Awaitable[socket.socket]]
"""Opens the listener. Raises `Error` where containers have no network of their own."""


class Inside:
    """Serves endpoints to containers. It is an ASGI app. `entrance` is set once a node is there."""

    def __init__(
        self,
        endpoints: Endpoints,
        functions: Functions,
        environments: Environments,
        gateway: Gateway,
        limits: ConnectionLimits,
    ) -> None:
        self._endpoints, self._functions, self._environments = endpoints, functions, environments
        self._gateway, self._limits = gateway, limits
        self._secret = secrets.token_bytes(32)
        self._opening: asyncio.Task[str] | None = None
        self._http: Http | None = None
        self._serving: asyncio.Task[None] | None = None
        self.entrance: Entrance | None = None

    async def urls(
        self, environment: str, paths: dict[str, str], pages: dict[str, str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """URLs by path as containers of an environment reach them, and none by host name, in place of those that users
        have; or those, where containers have no network of their own and so share the node's."""
        if not paths or self.entrance is None:
            return paths, pages
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(self.entrance))
        base = await asyncio.shield(self._opening)
        if not base:
            return paths, pages
        return {name: base + self._path(environment, url.rpartition("/")[2]) for name, url in paths.items()}, {}

    async def _open(self, entrance: Entrance) -> str:
        """Opens the listener and serves on it. Returns its URL, or "" where there can be none."""
        try:
            listener = await entrance()
        except Error as error:
            log.info("containers have no way to endpoints of their own: %s", error)
            return ""
        listener.setblocking(False)
        self._http = Http(self, self._limits)
        self._serving = asyncio.create_task(self._http.serve([listener]))
        address, port = listener.getsockname()
        return f"http://{address}:{port}"

    def _path(self, environment: str, label: str) -> str:
        """The path of an endpoint. Its key stays the same until the server ends, or the environment does, also where
        another of that name is made."""
        about = f"{self._environments.key(environment)} {label}".encode()
        key = hashlib.blake2b(about, key=self._secret, digest_size=_KEY_BYTES).hexdigest()
        return f"/{key}/w/{label}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            return
        path = scope["path"]
        label = path.split("/", 4)[3] if path.count("/") > 2 else ""
        endpoint = self._endpoints.get(label)
        function = self._functions.get(endpoint.function) if endpoint is not None else None
        root = self._path(function.environment, label) if function is not None else ""
        if not root or not secrets.compare_digest(f"{path}/"[: len(root) + 1].encode(), f"{root}/".encode()):
            await refusals.refuse(scope, send, 404, refusals.new_id())
            return
        await self._gateway.serve(label, root, path if path != root else root + "/", scope, receive, send)

    async def stop(self) -> None:
        """Closes the listener, and ends what is served on it."""
        if self._opening is not None:
            await self._opening
        if self._http is not None and self._serving is not None:
            self._http.should_exit = True
            await self._serving
