"""The HTTP port: it serves the API, the link of clients on other machines, and the gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, Router, WebSocketRoute

from inrush.errors import AuthError, Error, NotFoundError
from inrush.server.api import openapi
from inrush.server.api.apps import AppRoutes
from inrush.server.api.containers import ContainerRoutes
from inrush.server.api.dicts import DictRoutes
from inrush.server.api.guard import Guard
from inrush.server.api.route import PRINCIPAL, problem
from inrush.server.api.secrets import SecretRoutes
from inrush.server.api.server import ServerRoutes
from inrush.server.api.streams import StreamRoutes
from inrush.server.api.trust import TrustRoutes
from inrush.server.control import ControlPlane
from inrush.server.gateway.gateway import Gateway
from inrush.server.links import websocket
from inrush.server.port.names import Names, check_origin
from inrush.server.trust.principal import OWNER, Principal

_HTTP, _SOCKET = "http", "websocket"


class Site:
    """The ASGI app of a server."""

    def __init__(self, server: ControlPlane, gateway: Gateway, guard: Guard, names: Names) -> None:
        self._server, self._gateway, self._guard, self._names = server, gateway, guard, names
        self._strangers, self._unread = websocket.Strangers(), websocket.Unread()
        streams = StreamRoutes(server)
        self._routes = [
            *ServerRoutes(server).routes(),
            *AppRoutes(server).routes(),
            *ContainerRoutes(server).routes(),
            *streams.routes(),
            *SecretRoutes(server).routes(),
            *DictRoutes(server).routes(),
            *TrustRoutes(server).routes(),
        ]
        document = openapi.describe(self._routes, server.version)
        self._described = msgspec.json.encode(document), openapi.page(document)
        """The API's description as JSON and as a page. It is made once, since everybody may ask for it without a
        token."""
        self._under_way: dict[str, set[asyncio.Task[Any]]] = {}
        """Requests to the API in progress, by the id of their principal."""
        server.tokens.ended.append(self._cut_off)
        self._api = Router([
            Mount(
                openapi.PREFIX,
                routes=[
                    *[route.serve(server.audit) for route in self._routes],
                    WebSocketRoute("/containers/{id}/exec", streams.exec),
                    WebSocketRoute("/shell", streams.shell),
                ],
            )
        ])  # fmt: skip
        self._open = Router([
            Route("/", self._hello),
            Route("/healthz", self._health),
            Route("/api/openapi.json", self._openapi),
            Route("/api/docs", self._docs),
        ])  # fmt: skip

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in (_HTTP, _SOCKET):
            return
        try:
            await self._serve(scope, receive, send)
        except Error as error:
            await _refuse(error, scope, receive, send)

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        path, label = scope["path"], self._names.label(scope)
        if label:
            await self._gateway.serve(label, "", path, scope, receive, send)
        elif path.startswith("/w/"):
            label = path[3:].partition("/")[0]
            full = path if path != f"/w/{label}" else path + "/"
            await self._gateway.serve(label, f"/w/{label}", full, scope, receive, send)
        elif path == "/link" and scope["type"] == _SOCKET:
            check_origin(scope)
            await websocket.serve(self._server.sessions, self._strangers, self._unread, scope, receive, send)
        elif path.startswith(openapi.PREFIX + "/"):
            principal = self._guard.check(scope)
            scope[PRINCIPAL] = principal
            await self._ask(principal, scope, receive, send)
        elif scope["type"] == _HTTP:
            check_origin(scope)
            await self._open(scope, receive, send)
        else:
            raise NotFoundError("nothing is served at this address; /api/docs describes the API")

    async def _ask(self, principal: Principal, scope: Any, receive: Any, send: Any) -> None:
        """Serves a request to the API. It is cancelled when its token is revoked."""
        if not principal.expires and principal is OWNER:
            await self._api(scope, receive, send)
            return
        task = asyncio.ensure_future(self._api(scope, receive, send))
        mine = self._under_way.setdefault(principal.id, set())
        mine.add(task)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            mine.discard(task)
            if not mine:
                self._under_way.pop(principal.id, None)
        if task.cancelled():
            raise AuthError("the token was revoked, or has expired")
        task.result()

    def _cut_off(self, principal: str) -> None:
        for task in self._under_way.get(principal, ()):
            task.cancel()

    async def _hello(self, request: Request) -> Response:
        return PlainTextResponse("inrush. The API is described at /api/docs.\n")

    async def _health(self, request: Request) -> Response:
        """For load balancers and supervisors, which have no token: whether it takes work, and nothing else."""
        return PlainTextResponse("ending\n", 503) if self._server.ending else PlainTextResponse("ok\n")

    async def _openapi(self, request: Request) -> Response:
        return Response(self._described[0], media_type="application/json")

    async def _docs(self, request: Request) -> Response:
        headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
        return HTMLResponse(self._described[1], headers=headers)


async def _refuse(error: Error, scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == _SOCKET:
        await send({"type": "websocket.close", "code": 1008, "reason": str(error)[:120]})
    else:
        await problem(error)(scope, receive, send)
