"""The server: from its start, when rows are restored and it begins to serve, to its end in the opposite order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from inrush.core.model import events
from inrush.server.api.guard import Guard
from inrush.server.control import ControlPlane, write_private
from inrush.server.http import Site
from inrush.server.links import sockets
from inrush.server.payloads.blob_socket import BlobSocket
from inrush.server.port import names as names_of
from inrush.server.port.connection_limits import ConnectionLimits
from inrush.server.port.listening import Http, bind
from inrush.server.port.names import Names
from inrush.server.rows import tables

log = logging.getLogger(__name__)

SWEEP_S = 30.0
WEB_GRACE_S = 10.0
"""Web requests that are under way when the server is asked to end may be answered within this; then they get a 503."""
STOP_GRACE_S = 5.0
"""Containers that run inputs may finish them within this when the server ends; exit hooks have their own time."""


class Server(ControlPlane):
    """The control plane of one home, served. `nodes` and `blobs` are what an embedded agent needs."""

    def __init__(self, home: Path, given: Mapping[str, Any], background: bool = False) -> None:
        """Opens files and rows; nothing is served before `start`. Belongs to the running event loop."""
        super().__init__(home, given, background)
        self._http: Http | None = None
        self._http_task: asyncio.Task[None] | None = None
        self._unix: asyncio.Server | None = None
        self._blob_socket: BlobSocket | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._idle_since = time.monotonic()

    async def start(self) -> None:
        """Restores what rows say, and serves. Raises `InvalidError` where an address cannot be had."""
        host, port = self.settings["host"], self.settings["port"]
        listener = _bind(host, port, self._kept_port())
        port = listener.getsockname()[1]
        self._keep_port(port)
        shown = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host  # noqa: S104
        self.url = f"http://{shown}:{port}"
        public_url = names_of.public(self.settings["public_url"])
        self.endpoints.base, self.endpoints.port = public_url or self.url, port
        added = self.apps.restore()
        self.loop.post(events.Restored(added, tuple(self.durable.restore())))
        for app in self.apps.running():
            if not app.deployed and not app.detached:
                self.sessions.expect(app.client, app.environment)
        self.loop.start()
        self.durable.start()
        names = Names(host, names_of.domain(self.settings["apps_domain"]), self.settings["allowed_hosts"], public_url)
        limits = ConnectionLimits(self.settings["max_connections"], self.settings["max_peer_connections"])
        self._http = Http(Site(self, self.gateway, Guard(self.tokens), names), limits, self.settings["trusted_proxies"])
        self._http_task = asyncio.create_task(self._http.serve([listener]))
        self._blob_socket = BlobSocket(self.home / "run" / "blobs.sock", self.blobs)
        self._unix = await sockets.listen(self.home / "run" / "server.sock", self.sessions)
        self._sweeper = asyncio.create_task(self._sweep())
        write_private(self.home / "run" / "server.json", json.dumps(self._card()))
        log.info("inrush %s serves at %s and %s", self.version, self.url, self.home / "run" / "server.sock")

    def _card(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "url": self.url, "boot": self.boot, "version": self.version}

    async def wait_closed(self) -> None:
        """Returns when the server was asked to end, or has been idle for `idle_exit_s`; and what web requests were
        under way have been answered, or have had `WEB_GRACE_S` for it, unless the server cannot go on."""
        await self._end.wait()
        await self.gateway.drain(self.sessions.closing, 0.0 if self.failed else WEB_GRACE_S)
        self.gateway.end(self.sessions.closing)

    async def stop(self) -> None:
        """Takes no more calls, lets containers end within their grace, saves what is to be saved, and removes its
        files. The agent may go after that."""
        if not self.ending:
            self.ask_to_end("its process ends")
        self.gateway.end(self.sessions.closing)
        for path in ("server.json", "server.sock"):
            (self.home / "run" / path).unlink(missing_ok=True)
        if self._unix is not None:
            self._unix.close()
        if self._blob_socket is not None:
            self._blob_socket.close()
        await self._stop_containers()
        self.pools.stop()
        await self.sessions.close("the server has ended")
        self.durable.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self.inside.stop()
        if self._http is not None and self._http_task is not None:
            self._http.should_exit = True
            await self._http_task
        self.loop.stop()
        self.logs.close()
        self.audit.close()
        await self.store.close()
        log.info("ended")

    async def _stop_containers(self) -> None:
        for container in self.containers.all():
            self.nodes.stop_by_hand(container, STOP_GRACE_S)
        if self.containers.all():
            gone = asyncio.Event()
            self.containers.ended.append(lambda _: None if self.containers.all() else gone.set())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), STOP_GRACE_S)

    async def _sweep(self) -> None:
        every_s = min(SWEEP_S, self.settings["idle_exit_s"] / 4 or SWEEP_S)
        while True:
            await asyncio.sleep(every_s)
            try:
                await asyncio.to_thread(self.blobs.sweep)
            except OSError as error:
                log.warning("blobs that have expired could not be removed: %s", error)
            self.tokens.sweep()
            busy = len(self.sessions) or len(self.calls) or self.apps.running() or self.containers.all()
            if busy or self.ending:
                self._idle_since = time.monotonic()
            elif 0 < self.settings["idle_exit_s"] < time.monotonic() - self._idle_since:
                self.ask_to_end(f"nobody used it for {self.settings['idle_exit_s']} s")

    def _kept_port(self) -> int:
        query = sa.select(tables.settings.c.value).where(tables.settings.c.name == "port")
        return int(self.store.read_now(lambda connection: connection.execute(query).scalar()) or 0)

    def _keep_port(self, port: int) -> None:
        self.store.execute(self.store.insert_or_replace(tables.settings), [{"name": "port", "value": str(port)}])


def _bind(host: str, port: int, kept: int) -> Any:
    """The asked-for port, else the one of last time if it is free, else any."""
    if port or not kept:
        return bind(host, port)
    try:
        return bind(host, kept)
    except Exception:
        return bind(host, 0)
