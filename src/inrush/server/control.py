"""The control plane: every part of a server is made here, by hand, told what it needs, and joined to the others.

links (unix socket, WebSocket, guests) ─▶ sessions ─▶ calls ─▶ loop ─▶ core
                          gateway ─────────────▶ ┘                  │ effects
            nodes, pools ◀──────────────────────────────────────────┘ ─▶ calls ─▶ sessions
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import msgspec

from inrush import intact, settings, wire
from inrush.core.cluster import Cluster
from inrush.core.model import effects, events, quotas
from inrush.core.place.never import servable
from inrush.pools import file as pools_file
from inrush.server.apps.apps import Apps
from inrush.server.apps.endpoints import Endpoints
from inrush.server.apps.functions import Function, Functions
from inrush.server.apps.saved import SavedApps
from inrush.server.calls.durable import Durable
from inrush.server.calls.table import Calls
from inrush.server.dicts.dicts import Dicts
from inrush.server.fleet.containers import Containers
from inrush.server.fleet.execs import Execs
from inrush.server.fleet.images import Images
from inrush.server.fleet.nodes import Nodes
from inrush.server.fleet.pools import Pools
from inrush.server.fleet.shells import Shells
from inrush.server.fleet.watch import Watch
from inrush.server.gateway.gateway import Gateway
from inrush.server.gateway.inside import DESCRIPTORS_SHARE, Inside
from inrush.server.links.asks import Asks
from inrush.server.links.guests import MAX_ASKED_BYTES, Guests
from inrush.server.links.session import BoundSession, Session
from inrush.server.links.sessions import Sessions
from inrush.server.logs import Line, Logs
from inrush.server.loop import Loop
from inrush.server.payloads.blobs import Blobs
from inrush.server.port.connection_limits import ConnectionLimits
from inrush.server.port.names import domain
from inrush.server.rows.store import Store
from inrush.server.secrets.key import HomeKey
from inrush.server.secrets.secrets import Secrets
from inrush.server.shares import Shares
from inrush.server.trust.audit import Audit
from inrush.server.trust.environments import Environments, check_deletable
from inrush.server.trust.possession import Possession
from inrush.server.trust.principal import Principal
from inrush.server.trust.tokens import Tokens

log = logging.getLogger(__name__)

MIB = 1024 * 1024
RETRIES_TOLD = 100
"""Inputs that are tried again and named in one message, at most."""


class ControlPlane:
    """The parts of one server, built for one home and joined. `Server` serves and ends them."""

    def __init__(self, home: Path, given: Mapping[str, Any], background: bool = False) -> None:
        """Opens files and the database. It belongs to the running event loop. In the `background` nobody but clients
        starts it again."""
        self.home, self._background = home, background
        self.settings = {name: v.value if isinstance(v, settings.Value) else v for name, v in given.items()}
        self.version = installed_version("inrush")
        self.boot = secrets.token_hex(16)
        self.started = time.time()
        self.url = ""
        """The address at which HTTP is served, from `Server.start` on."""
        self.failed = ""
        """Why the server ends because it cannot go on; empty otherwise."""
        self._end = asyncio.Event()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "run").mkdir(mode=0o700, exist_ok=True)
        self.token = _token(home / "token", self.settings["token"])
        self._build()

    def _build(self) -> None:
        given = self.settings
        pools = pools_file.read(self.home / Path(given["pools"]).expanduser()) if given["pools"] else ()
        self.store = Store(self.home, given["database_url"])
        self.audit = Audit(self.home)
        self.environments = Environments(self.store, self.audit)
        self.tokens = Tokens(self.store, self.token, self.audit)
        self.key = HomeKey(self.home / "key")
        self.secrets = Secrets(self.key, self.store)
        self.possession = Possession(self.key.derived("ids of blobs"))
        self.dicts = Dicts(self.store, given["environment_gib"] * 1024 * MIB)
        self.blobs = Blobs(
            self.home / "blobs", given["blobs_gib"] * 1024 * MIB, given["max_payload_mib"] * MIB, given["result_ttl_s"]
        )
        self.logs = Logs(self.home / "logs", given["logs_mib"] * MIB)
        self.functions, self.containers, self.endpoints = (
            Functions(),
            Containers(),
            Endpoints(domain(given["apps_domain"])),
        )
        core = Cluster(secrets.token_hex(16), quotas=quotas.parse(given["quotas"]))
        self.loop = Loop(core, self._apply, passed=self._passed_over, broke=self.fail)
        post = self.loop.post
        self.nodes = Nodes(self.loop, self.functions, self.containers, self.variables, self.environments.key)
        self.pools = Pools(self.loop, self.nodes, pools)
        self.calls = Calls(
            post,
            self.functions,
            self.blobs,
            self.nodes.to_container,
            max_queued_inputs=given["max_queued_inputs"],
            can_ever=self._can_ever,
        )
        self.durable = Durable(
            self.store, self.calls, self.functions, given["result_ttl_s"], given["environment_gib"] * 1024 * MIB
        )
        self.watch = Watch(self.functions, self.containers)
        self.images = Images(self.nodes, self.secrets, given["force_build"], self.environments.key)
        self.execs = Execs(self.nodes, self.containers)
        self.shells = Shells(post, self.functions, self.containers)
        self.apps = Apps(
            SavedApps(self.store, self.key),
            post,
            self.functions,
            self.endpoints,
            self.blobs,
            self.secrets,
            self.logs,
            can_ever=self._can_ever,
            prepare=self.nodes.prepare,
            explain=self._explain,
            core=self.loop.core,
        )
        self._build_links()

    def _build_links(self) -> None:
        given, post = self.settings, self.loop.post
        self.gateway = Gateway(
            self.endpoints, self.functions, self.calls, self.logs, self.loop.turn, given["max_payload_mib"] * MIB
        )
        limits = ConnectionLimits(given["max_connections"] // 2, given["max_peer_connections"], DESCRIPTORS_SHARE)
        self.inside = Inside(self.endpoints, self.functions, self.environments, self.gateway, limits)
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
            environments=self.environments,
            possession=self.possession,
            audit=self.audit,
            urls_inside=self.inside.urls,
        )
        self.sessions = Sessions(
            self.calls,
            self.durable,
            self.asks,
            self.loop,
            self._client_gone,
            boot=self.boot,
            tokens=self.tokens,
            environments=self.environments,
            audit=self.audit,
            make=self._session,
            version=self.version,
            background=self._background,
        )
        self._asked_by_tokens = Shares(MAX_ASKED_BYTES, "bytes of requests", "tokens for this environment")
        self.guests = Guests(self.containers, self.sessions, self.nodes.to_container, self.loop.writes)
        self._wire()

    def _wire(self) -> None:
        self.nodes.pool_of = self.pools.pool_of
        self.nodes.handlers[wire.NodeState] = self.pools.heed
        self.nodes.handlers[wire.Yielded] = self.calls.yielded
        self.nodes.handlers[wire.Took] = self.calls.took
        self.nodes.handlers[wire.ContainerLog] = self._container_log
        self.nodes.handlers[wire.FromGuestLink] = self.guests.frame
        self.containers.ended.append(lambda container: self.guests.ended(container.id))
        self._effects: dict[type, Callable[[Any], None]] = {
            effects.Dispatch: self.calls.dispatch,
            effects.Resolve: self.calls.resolve,
            effects.StartContainer: self.nodes.start_container,
            effects.StopContainer: self.nodes.stop_container,
            effects.ContainerLost: self.nodes.container_lost,
            effects.ListContainers: self.nodes.list_containers,
            effects.CancelRun: self.nodes.cancel_run,
            effects.Recall: self.nodes.recall,
            effects.NodesWanted: self.pools.order,
            effects.NodesReleased: self.pools.release,
            effects.Waiting: self.watch.waiting,
            effects.Retried: self._retried,
            effects.Decided: self.watch.decided,
            effects.Tried: self._tried,
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
                if type(effect) is effects.Dispatch:
                    self.nodes.give_up(effect.container)

    def _passed_over(self, event: events.AnyEvent) -> None:
        """Ends what an event was about that the core could not take, so that nobody waits for it: a call is refused,
        and what a container ran is tried elsewhere."""
        if isinstance(event, events.CallArrived | events.InputsArrived | events.CallEnded):
            self.calls.give_up(event.call)
        elif container := getattr(event, "container", ""):
            self.nodes.give_up(container)

    def _retried(self, effect: effects.Retried) -> None:
        effect = msgspec.structs.replace(effect, indexes=effect.indexes[:RETRIES_TOLD])
        self.watch.retried(effect)
        if (call := self.calls.get(effect.call)) is not None:
            call.retried(effect, self.durable.waiting(call.id))

    def _tried(self, effect: effects.Tried) -> None:
        self.apps.tried(effect)
        self.shells.tried(effect)

    def fail(self, why: str) -> None:
        """Ends the server because it cannot go on."""
        self.failed = why
        self.ask_to_end(why)

    def variables(self, function: Function) -> tuple[tuple[str, str], ...]:
        """A function's variables, with the values of its secrets. Raises `NotFoundError` if a secret was deleted."""
        spec = function.spec
        return tuple({**self.secrets.values(spec.secrets, function.environment), **dict(spec.env)}.items())

    def _can_ever(self, spec: wire.FunctionSpec) -> str:
        core = self.loop.core
        why = servable(spec, core.nodes.values(), core.pools.values())
        if why and spec.resources.gpu:
            first = spec.resources.gpu[0]
            kind = "A10G" if first.type == "ANY" else first.type
            gpus = f"{kind}:{max(first.count, 8)}"
            why += f'. To declare some, write gpus = "{gpus}" into the server\'s config.toml; its next start reads it'
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

    def _session(self, client: str, principal: Principal, environment: str) -> Session:
        """Makes the session of a client outside of containers."""
        if principal.environment:
            return BoundSession(
                *(client, principal, environment),
                possession=self.possession,
                payer=f"{principal.environment}/",
                asked=self._asked_by_tokens,
            )
        return Session(client, principal, environment)

    async def delete_environment(self, name: str) -> None:
        """Deletes an environment with its apps, Dicts, secrets, tokens and calls. Raises `NotFoundError`, and
        `InvalidError` for `main`."""
        check_deletable(name, self.environments)
        self.environments.close(name)
        await self.tokens.revoke_all(name)
        await self._empty(name)
        await self.environments.forget(name)
        await self._empty(name)  # what was asked for before nobody could find it may still have been on its way
        self.environments.release(name)

    async def _empty(self, environment: str) -> None:
        await self.apps.stop_all(environment)
        await self.dicts.delete_all(environment)
        await self.secrets.delete_all(environment)
        self.possession.forget(environment)

    @property
    def ending(self) -> bool:
        """Whether the server was asked to end."""
        return self._end.is_set()

    def ask_to_end(self, why: str) -> None:
        """Has `Server.wait_closed` return."""
        log.info("ending: %s", why)
        self.sessions.closing = "the server is ending; it can be started again"
        self.nodes.ending = True
        self._end.set()


def _token(path: Path, given: str) -> str:
    """The owner's token: that of the setting, else of the home's file, else a new one."""
    if given:
        write_private(path, given)
        return given
    remedy = "write the token into it that programs use, or remove it: then a new one is made, and the old one is void"
    token = intact.read(path, _plain_token, remedy)
    if token is None:
        token = secrets.token_urlsafe(24)
        write_private(path, token)
    return token


def _plain_token(data: bytes) -> str:
    token = data.decode("ascii").strip()
    if not token or not token.isprintable() or " " in token:
        raise ValueError("a token is one word")
    return token


def write_private(path: Path, text: str) -> None:
    """Writes a file that nobody else can read. The file is there as a whole or not at all."""
    part = path.with_name(path.name + ".new")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    part.replace(path)
