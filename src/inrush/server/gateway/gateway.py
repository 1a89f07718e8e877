"""The gateway: endpoints over HTTP, which scale from zero and stream in both directions.

An endpoint is served at `/w/<label>/…` and at a host name of its own (`apart`). A request becomes a call of kind `web`
(`exchange`), and waits as long as its function takes to start. A client that disconnects cancels its call. A container
that dies during a request means 502, and a full queue 429. When the server ends, requests in progress have a grace;
those that are not answered by then, and new ones, get 503.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from inrush import wire
from inrush.server.apps.endpoints import Endpoints
from inrush.server.apps.functions import Functions
from inrush.server.calls.table import Calls
from inrush.server.gateway import asgi, refusals
from inrush.server.gateway.apart import apart, browser_asks
from inrush.server.gateway.exchange import Exchange
from inrush.server.gateway.inflow import Inflow, window
from inrush.server.logs import Logs

log = logging.getLogger(__name__)

ALL_PENDING_BYTES = 512 * 1024 * 1024
"""The most unread response bytes of all clients together. Above it, the request with the most is ended."""


class Gateway:
    """Serves requests to endpoints."""

    def __init__(
        self,
        endpoints: Endpoints,
        functions: Functions,
        calls: Calls,
        logs: Logs,
        turn: Callable[[], None],
        limit_bytes: int,
    ) -> None:
        self._endpoints, self._functions, self._calls, self._logs = endpoints, functions, calls, logs
        self._turn, self._limit = turn, limit_bytes
        self._exchanges: set[Exchange] = set()
        self._large: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._pending = 0
        self._idle = asyncio.Event()
        self._ending = ""

    async def drain(self, why: str, grace_s: float) -> None:
        """Refuses new requests. Returns when those in progress have been answered, or after `grace_s`."""
        self._ending = why
        if self._exchanges:
            log.info("%d web requests are under way and have %g s to end", len(self._exchanges), grace_s)
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), grace_s)

    def end(self, why: str) -> None:
        """Ends the requests in progress with a 503, since the server ends."""
        self._ending = why
        for exchange in self._exchanges:
            exchange.send(wire.CallRefused("", refusals.ENDING, why))

    async def serve(self, label: str, root_path: str, path: str, scope: Any, receive: Any, send: Any) -> None:
        """Serves one request or WebSocket to an endpoint."""
        endpoint = self._endpoints.get(label)
        if endpoint is None or self._ending:
            await refusals.refuse(scope, send, 503 if endpoint is not None else 404, refusals.new_id())
            return
        if root_path:
            for_worker, for_page = browser_asks(scope)
            if for_worker:
                await refusals.refuse(scope, send, 403, refusals.new_id())
                return
            if for_page and (page := self._endpoints.page_from(label, scope)):
                await refusals.redirect(send, page, scope)
                return
        send = apart(scope, root_path, send)
        function = self._functions.get(endpoint.function)
        slots = function.spec.scale.max_inputs if function is not None else 1
        inflow = Inflow(window(slots), lambda: self._large.setdefault(label, asyncio.Lock()))
        exchange = Exchange(self, self._calls, self._logs, self._turn, endpoint, inflow, self._limit)
        self._exchanges.add(exchange)
        try:
            await exchange.serve(asgi.pack_scope(scope, root_path, path), scope, receive, send)
        finally:
            inflow.end()
            self.pending(-exchange.pending)
            self._exchanges.discard(exchange)
            if not self._exchanges:
                self._idle.set()

    def pending(self, size: int) -> None:
        """Counts `size` more bytes of responses that wait to be read."""
        self._pending += size
        if size > 0 and self._pending > ALL_PENDING_BYTES:
            max(self._exchanges, key=lambda exchange: exchange.pending).flooded()
