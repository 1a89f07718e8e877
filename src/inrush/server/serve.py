"""The server, built by hand: every part is made here, told what it needs, and ended in the opposite order.

links (unix socket, WebSocket, guests) ─▶ sessions ─▶ calls ─▶ loop ─▶ core
                          gateway ─────────────▶ ┘                  │ effects
                   nodes ◀──────────────────────────────────────────┘ ─▶ calls ─▶ sessions
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from inrush import settings, wire
from inrush.core import effects, events, quotas
from inrush.core.cluster import Cluster
from inrush.core.never import can_ever
from inrush.server import sockets, tables
from inrush.server.api import schema
from inrush.server.api.guard import Guard
from inrush.server.apps import Apps
from inrush.server.asks import Asks
from inrush.server.blobs import Blobs
from inrush.server.calls import Calls
from inrush.server.containers import Containers
from inrush.server.dicts import Dicts
from inrush.server.durable import Durable
from inrush.server.endpoints import Endpoints
from inrush.server.execs import Execs
from inrush.server.functions import Function, Functions
from inrush.server.gateway import Gateway
from inrush.server.guests import Guests
from inrush.server.http import Http, Site, bind
from inrush.server.images import Images
from inrush.server.logs import Line, Logs
from inrush.server.loop import Loop
from inrush.server.nodes import Nodes
from inrush.server.passing import Passing
from inrush.server.secrets import Secrets
from inrush.server.sessions import Sessions
from inrush.server.store import Store
from inrush.server.watch import Watch

log = logging.getLogger(__name__)

MIB = 1024 * 1024
SWEEP_S = 30.0
WEB_GRACE_S = 10.0
"""Web requests that are under way when the server is asked to end may be answered within this; then they get a 503."""
STOP_GRACE_S = 5.0
"""Containers that run inputs may finish them within this when the server ends; exit hooks have their own time."""


class Server:
    """The control plane of one home. `nodes` and `blobs` are what an embedded agent needs."""

    def __init__(self, home: Path, given: Mapping[str, Any]) -> None:
        """Opens files and rows; nothing is served before `start`. Belongs to the running event loop."""
        self.home = home
        self.settings = {name: v.value if isinstance(v, settings.Value) else v for name, v in given.items()}
        self.version = installed_version("inrush")
        self.boot = secrets.token_hex(8)
        self.started = time.time()
        self._url = ""
        self._http: Http | None = None
        self._http_task: asyncio.Task[None] | None = None
        self._unix: asyncio.Server | None = None
        self._passing: Passing | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._end = asyncio.Event()
        self._idle_since = time.monotonic()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "run").mkdir(mode=0o700, exist_ok=True)
        self.token = _token(home / "token", self.settings["token"])
        self._build()

    def _build(self) -> None:
        given = self.settings
        self.store = Store(self.home, given["database_url"])
        self.secrets = Secrets(self.home, self.store)
        self.dicts = Dicts(self.store)
        self.blobs = Blobs(
            self.home / "blobs", given["blobs_gib"] * 1024 * MIB, given["max_payload_mib"] * MIB, given["result_ttl_s"]
        )
        self.logs = Logs(self.home / "logs", given["logs_mib"] * MIB)
        self.functions, self.containers, self.endpoints = Functions(), Containers(), Endpoints()
        self.loop = Loop(Cluster(self.boot, quotas=quotas.parse(given["quotas"])), self._apply)
        post = self.loop.post
        self.nodes = Nodes(self.loop, self.functions, self.containers, self.environment)
        self.calls = Calls(
            post, self.functions, self.blobs, self.nodes.to_container, max_queued_inputs=given["max_queued_inputs"]
        )
        self.durable = Durable(self.store, self.calls, self.functions, given["result_ttl_s"])
        self.watch = Watch(self.functions, self.containers)
        self.images = Images(self.nodes, self.secrets, given["force_build"])
        self.execs = Execs(self.nodes, self.containers)
        self.apps = Apps(
            self.store,
            post,
            self.functions,
            self.endpoints,
            self.blobs,
            self.secrets,
            self.logs,
            can_ever=self._can_ever,
            prepare=self.nodes.prepare,
            explain=self._explain,
        )
        self.asks = Asks(
            self.apps,
            self.functions,
            self.blobs,
            self.secrets,
            self.dicts,
            self.logs,
            self.watch,
            self.images,
            self.durable,
            post,
            self.loop.core.stats,
        )
        self.sessions = Sessions(
            self.calls,
            self.durable,
            self.asks,
            self.loop,
            self._client_gone,
            boot=self.boot,
            token=self.token,
            version=self.version,
        )
        self.gateway = Gateway(self.endpoints, self.calls, self.loop.turn, given["max_payload_mib"] * MIB)
        self.guests = Guests(self.containers, self.sessions, self.nodes.to_container, self.loop.writes)
        self._wire()

    def _wire(self) -> None:
        self.nodes.handlers[wire.Yielded] = self.calls.yielded
        self.nodes.handlers[wire.ContainerLog] = self._container_log
        self.nodes.handlers[wire.FromGuestLink] = self.guests.frame
        self.containers.ended.append(lambda container: self.guests.ended(container.id))
        self._effects: dict[type, Callable[[Any], None]] = {
            effects.Dispatch: self.calls.dispatch,
            effects.Resolve: self.calls.resolve,
            effects.StartContainer: self.nodes.start_container,
            effects.StopContainer: self.nodes.stop_container,
            effects.CancelRun: self.nodes.cancel_run,
            effects.Recall: self.nodes.recall,
            effects.Waiting: self.watch.waiting,
            effects.Decided: self.watch.decided,
        }

    def _apply(self, batch: list[Any]) -> None:
        handlers = self._effects
        for effect in batch:
            handler = handlers.get(type(effect))
            if handler is None:
                continue
            try:
                handler(effect)
            except Exception:
                log.exception("a defect: %s could not be carried out", type(effect).__name__)

    # ── what parts ask of the whole ──────────────────────────────────────────────────────────────────────────────────

    def environment(self, spec: wire.FunctionSpec) -> tuple[tuple[str, str], ...]:
        """A function's variables, with its secrets opened. Raises `NotFoundError` where one is gone."""
        return tuple({**self.secrets.values(spec.secrets), **dict(spec.env)}.items())

    def _can_ever(self, spec: wire.FunctionSpec) -> str:
        why = can_ever(spec.resources, self.loop.core.nodes.values(), spec)
        if why and spec.resources.gpu:
            first = spec.resources.gpu[0]
            kind = "A10G" if first.type == "ANY" else first.type
            gpus = f"{kind}:{max(first.count, 8)}"
            why += f". To declare some: `inrush server stop`, and from then on INRUSH_GPUS={gpus} inrush run …"
        return why or ""

    def _explain(self, function: Function) -> list[str]:
        return [
            *self.loop.core.explain(function.id),
            *self.containers.starts(function.id),
            *function.notes,
        ]

    def _container_log(self, message: wire.ContainerLog) -> None:
        container = self.containers.get(message.container)
        if container is None:
            return
        function = container.function
        self.logs.write(
            function.app, Line(message.time, container.id, function.title, message.call, message.stream, message.text)
        )

    async def _client_gone(self, client: str) -> None:
        self.asks.client_gone(client)
        await self.apps.client_gone(client)

    def status(self) -> schema.Status:
        """For the API."""
        return schema.Status(
            version=self.version,
            pid=os.getpid(),
            url=self._url,
            boot=self.boot,
            started=self.started,
            apps=len(self.apps.running()),
            functions=len(self.functions.all()),
            containers=len(self.containers.all()),
            nodes=len(self.nodes),
            clients=len(self.sessions),
            calls=len(self.calls),
            durable_calls=len(self.durable),
            stopping=self._end.is_set(),
        )

    # ── from start to end ────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Restores what rows say, and serves. Raises `InvalidError` where an address cannot be had."""
        host, port = self.settings["host"], self.settings["port"]
        listener = _bind(host, port, self._kept_port())
        port = listener.getsockname()[1]
        self._keep_port(port)
        shown = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host  # noqa: S104
        self._url = self.endpoints.base = f"http://{shown}:{port}"
        added = self.apps.restore()
        self.loop.post(events.Restored(added, tuple(self.durable.restore())))
        for app in self.apps.running():
            if not app.deployed and not app.detached:
                self.sessions.expect(app.client)
        self.loop.start()
        self.durable.start()
        self._http = Http(Site(self, self.gateway, Guard(self.token, host)))
        self._http_task = asyncio.create_task(self._http.serve([listener]))
        self._passing = Passing(self.home / "run" / "blobs.sock", self.blobs)
        self._unix = await sockets.listen(self.home / "run" / "server.sock", self.sessions)
        self._sweeper = asyncio.create_task(self._sweep())
        _write_private(self.home / "run" / "server.json", json.dumps(self._card()))
        _settle_memory()
        log.info("inrush %s serves at %s and %s", self.version, self._url, self.home / "run" / "server.sock")

    def _card(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "url": self._url, "boot": self.boot, "version": self.version}

    def ask_to_end(self, why: str) -> None:
        """Has `wait_closed` return."""
        log.info("ending: %s", why)
        self.sessions.closing = "the server is ending; it can be started again"
        self.nodes.ending = True
        self._end.set()

    async def wait_closed(self) -> None:
        """Returns when the server was asked to end, or has been idle for `idle_exit_s`; and what web requests were
        under way have been answered, or have had `WEB_GRACE_S` for it."""
        await self._end.wait()
        await self.gateway.drain(self.sessions.closing, WEB_GRACE_S)
        self.gateway.end(self.sessions.closing)

    async def stop(self) -> None:
        """Takes no more calls, lets containers end within their grace, saves what is to be saved, and removes its
        files. The agent may go after that."""
        if not self._end.is_set():
            self.ask_to_end("its process ends")
        self.gateway.end(self.sessions.closing)
        for path in ("server.json", "server.sock"):
            (self.home / "run" / path).unlink(missing_ok=True)
        if self._unix is not None:
            self._unix.close()
        if self._passing is not None:
            self._passing.close()
        await self._stop_containers()
        await self.sessions.close("the server has ended")
        self.durable.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._http is not None and self._http_task is not None:
            self._http.should_exit = True
            await self._http_task
        self.loop.stop()
        self.logs.close()
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
            await asyncio.to_thread(self.blobs.sweep)
            busy = len(self.sessions) or len(self.calls) or self.apps.running() or self.containers.all()
            if busy or self._end.is_set():
                self._idle_since = time.monotonic()
            elif 0 < self.settings["idle_exit_s"] < time.monotonic() - self._idle_since:
                self.ask_to_end(f"nobody used it for {self.settings['idle_exit_s']} s")

    def _kept_port(self) -> int:
        query = sa.select(tables.settings.c.value).where(tables.settings.c.name == "port")
        return int(self.store.read_now(lambda connection: connection.execute(query).scalar()) or 0)

    def _keep_port(self, port: int) -> None:
        self.store.execute(self.store.insert_or_replace(tables.settings), [{"name": "port", "value": str(port)}])


def _settle_memory() -> None:
    """What is there now stays: collections look at younger objects only, and seldom: no call waits for a long one."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _bind(host: str, port: int, kept: int) -> Any:
    """The asked-for port, else the one of last time if it is free, else any."""
    if port or not kept:
        return bind(host, port)
    try:
        return bind(host, kept)
    except Exception:
        return bind(host, 0)


def _token(path: Path, given: str) -> str:
    """The setting, else what the home's file holds, else a new one."""
    if given:
        _write_private(path, given)
        return given
    try:
        token = path.read_text().strip()
    except FileNotFoundError:
        token = ""
    if not token:
        token = secrets.token_urlsafe(24)
        _write_private(path, token)
    return token


def _write_private(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".new")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    part.replace(path)
