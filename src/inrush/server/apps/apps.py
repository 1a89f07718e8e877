"""Starts, deploys and stops apps.

An ephemeral app ends with the session of the client that started it, unless it is detached. A deployed app stays. Each
deploy is a new version that replaces the old one as a whole, once it has shown that it starts (`trials`): its rows are
committed first, and then the core is told. Deploys of one name happen one after the other. A function whose containers
can serve the new version keeps its id, and so its warm containers.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from inrush import wire
from inrush.core.cluster import Cluster
from inrush.core.model import events
from inrush.errors import InvalidError, NotFoundError, ResourceExhaustedError
from inrush.server.apps import trials
from inrush.server.apps.checks import check_app_name, check_tag, check_words
from inrush.server.apps.endpoints import Endpoints
from inrush.server.apps.functions import Function, Functions
from inrush.server.apps.saved import KEPT_VERSIONS, Past, SavedApps
from inrush.server.apps.trials import Trials
from inrush.server.apps.versions import App, Plan, add_late_variants, blobs_of, plan_version
from inrush.server.logs import Logs
from inrush.server.payloads.blobs import Blobs
from inrush.server.secrets.secrets import Secrets
from inrush.server.trust.principal import Scope

log = logging.getLogger(__name__)

MAX_APPS = 2000
"""That run or are deployed in one environment."""
MAX_FUNCTIONS = 1000
KEPT_ENDED = 100
KEPT_WORDS = 50
"""For so many functions of an ended app, the answer of `inrush why` is kept."""
LOGS_LINGER_S = 60.0
"""How long the log of an ended app stays open for its containers' exit hooks."""


class Apps:
    """All apps. `can_ever` returns why no node could ever run a function, or an empty string."""

    def __init__(
        self,
        saved: SavedApps,
        post: Callable[[Any], None],
        functions: Functions,
        endpoints: Endpoints,
        blobs: Blobs,
        secrets: Secrets,
        logs: Logs,
        *,
        can_ever: Callable[[wire.FunctionSpec], str],
        prepare: Callable[[Function], None],
        explain: Callable[[Function], list[str]],
        core: Cluster,
    ) -> None:
        self._saved, self._post, self._functions, self._endpoints = saved, post, functions, endpoints
        self._blobs, self._secrets, self._logs = blobs, secrets, logs
        self._can_ever, self._prepare, self._explain = can_ever, prepare, explain
        self._trials = Trials(post, core, logs)
        self.tried = self._trials.tried
        self._apps: dict[str, App] = {}
        self._ended: deque[App] = deque(maxlen=KEPT_ENDED)
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def running(self) -> list[App]:
        """The apps that have not ended."""
        return list(self._apps.values())

    def ended(self) -> list[App]:
        """The apps that ended lately."""
        return list(self._ended)

    def deployed(self, name: str, environment: str) -> App | None:
        """The deployed app of this name in an environment."""
        key = (name, environment)
        return next((app for app in self._apps.values() if app.deployed and (app.name, app.environment) == key), None)

    def find(self, app: str, scope: Scope) -> App:
        """Finds a running app by id or name: a deployed one before an ephemeral one, and of those the newest. Raises
        `NotFoundError`."""
        found = self._by_id(app, scope) or self.deployed(app, scope.environment)
        if found is None:
            key = (app, scope.environment)
            found = next((a for a in reversed(list(self._apps.values())) if (a.name, a.environment) == key), None)
        if found is None:
            raise NotFoundError(f"no app {app!r} is running here; `inrush app list` shows those that are")
        return found

    def _by_id(self, id: str, scope: Scope) -> App | None:
        found = self._apps.get(id)
        return found if found is not None and scope.reaches(found.environment) else None

    def _name_of(self, id: str) -> str:
        found = self._apps.get(id)
        return found.name if found is not None else id

    def find_any(self, app: str, scope: Scope) -> App:
        """Finds an app like `find`, also among those that ended lately. Raises `NotFoundError`."""
        try:
            return self.find(app, scope)
        except NotFoundError:
            for ended in reversed(self._ended):
                if app == ended.id and scope.reaches(ended.environment):
                    return ended
                if (app, scope.environment) == (ended.name, ended.environment):
                    return ended
            raise

    def function(self, app: str, name: str, scope: Scope, own: str = "") -> tuple[App, Function]:
        """Finds a function of a deployed app, or of the caller's `own` app (its id). Returns the app and the function.
        Raises `NotFoundError`."""
        mine = self._apps.get(own)
        if mine is None or (mine.name, mine.environment) != (app, scope.environment):
            mine = None
        found = mine or self._by_id(app, scope) or self.deployed(app, scope.environment)
        if found is None:
            raise NotFoundError(f"no app {app!r} is deployed here; `inrush deploy` deploys one")
        return found, self.function_of(found, name)

    def function_of(self, found: App, name: str) -> Function:
        """Finds a function of an app by name. Raises `NotFoundError`."""
        id = found.functions.get(name)
        function = self._functions.get(id) if id is not None else None
        if function is None:
            has = ", ".join(sorted(found.functions)) or "none"
            raise NotFoundError(f"app {found.name!r} has no function or class {name!r}; it has {has}")
        return function

    def why(self, app: App, name: str) -> list[str]:
        """Explains in sentences why a function has the containers it has; for an ended app, why it had them at its end.
        Raises `NotFoundError`."""
        if app.ended:
            if name not in app.words:
                raise NotFoundError(f"app {app.name!r} has ended, and nothing is kept of a function {name!r}")
            return [f"its app has ended; until then: {app.words[name][0]}", *app.words[name][1:]]
        function = self.function_of(app, name)
        lines: list[str] = []
        for one in (function, *self._functions.variants(function.id)):
            if one.parameters:
                lines.append(f"{one.title}:")
            lines += self._explain(one)
        return lines

    # ── starting and deploying ───────────────────────────────────────────────────────────────────────────────────────

    async def start(self, client: str, ask: wire.StartApp) -> App:
        """Starts or deploys an app. Raises `InvalidError` for an app that cannot run here."""
        self._check(ask.spec, ask.deploy)
        if not ask.deploy:
            app = App(
                f"ap-{secrets.token_hex(16)}",
                ask.spec,
                deployed=False,
                detached=ask.detach,
                client=client,
                created=time.time(),
            )
            await self._change(app, ask)
            return app
        async with self._lock_of(ask.spec):
            app = self.deployed(ask.spec.name, ask.spec.environment) or App(
                f"ap-{secrets.token_hex(16)}", ask.spec, deployed=True, detached=False, client="", created=time.time()
            )
            await self._change(app, ask)
        return app

    def _check(self, spec: wire.AppSpec, deploy: bool) -> None:
        check_app_name(spec.name)
        check_tag(spec.tag)
        others = sum(app.environment == spec.environment for app in self._apps.values())
        if others >= MAX_APPS and not (deploy and self.deployed(spec.name, spec.environment)):
            raise ResourceExhaustedError(f"environment {spec.environment!r} has {MAX_APPS} apps; stop some first")
        names = [function.name for function in spec.functions]
        twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
        if twice is not None:
            raise InvalidError(f"app {spec.name!r} has two functions called {twice!r}; give one of them another name=")
        if len(names) > MAX_FUNCTIONS:
            raise InvalidError(f"app {spec.name!r} has {len(names)} functions; an app may have {MAX_FUNCTIONS}")
        for function in spec.functions:
            check_words(spec.name, function)
        self.check_places(spec)
        for function in spec.functions:
            self._secrets.values(function.secrets, spec.environment)
        for blob in blobs_of(spec):
            if not self._blobs.exists(blob):
                raise NotFoundError(
                    f"source {blob} of app {spec.name!r} is not on this server; put it before the app starts"
                )

    def check_places(self, spec: wire.AppSpec) -> tuple[str, ...]:
        """Sentences about functions that no node could ever run; the others run all the same. Raises `InvalidError` if
        that is all of them."""
        lacking = {function.name: why for function in spec.functions if (why := self._can_ever(function))}
        said = tuple(f"{name} of app {spec.name!r} cannot run here: {why}" for name, why in lacking.items())
        if said and len(said) == len(spec.functions):
            raise InvalidError("\n".join(said))
        return said

    async def _change(self, app: App, ask: wire.StartApp, afresh: bool = False) -> None:
        """Makes a version of an app, and has it take the traffic of the one before once it has shown that it starts."""
        self._endpoints.check(app.id, ask.spec, app.deployed, self._name_of)
        plan, before = plan_version(app, ask.spec, self._functions, afresh), app.spec
        self.check_places(ask.spec)
        for function in plan.added:
            function.impossible = self._can_ever(function.spec)
        crowded = await self._try(app, plan) if app.version else []
        app.warnings = tuple(f"{f.title} takes the traffic untried, since there is no room beside" for f in crowded)
        await self._commit(app, ask, plan)
        if crowded:
            await self._prove(app, before, crowded)

    async def _try(self, app: App, plan: Plan) -> list[Function]:
        """Starts a container of each function that is to take another's place. Returns those for which there is no room
        beside the old ones. Raises `StartupError` if one does not start; nothing has changed then."""
        for old, new in plan.replaced:
            if new.impossible and not self._can_ever(old.spec):
                raise InvalidError(f"{new.title} cannot run here, and version {app.number} serves on: {new.impossible}")
        chosen = self._trials.choose(plan)
        try:
            for function in chosen:
                self._functions.add(function)
            known = await self._trials.run(chosen, "beside")
            if bad := trials.failed(known):
                raise self._trials.failure(app, *bad, f"version {app.number} serves on")
            if app.id not in self._apps:
                raise NotFoundError(f"app {app.name!r} was stopped while it was deployed")
        except BaseException:
            for function in chosen:
                self._functions.remove(function.id)
                self._post(events.FunctionRemoved(function.id, "it was tried, and did not start"))
            raise
        add_late_variants(plan, self._functions)
        return trials.without_room(known)

    async def _prove(self, app: App, before: wire.AppSpec, crowded: list[Function]) -> None:
        """Waits for functions that took their place untried. Raises `StartupError` if one does not start, after the
        version before has come back."""
        number = app.number
        known = await self._trials.run(crowded, "alone")
        for function in crowded:
            if self._functions.get(function.id) is function:
                self._post(function.added())
        bad = trials.failed(known)
        if bad is not None and app.id in self._apps and app.number == number:
            back = wire.StartApp(before, deploy=True)
            await self._commit(app, back, plan_version(app, before, self._functions))
            raise self._trials.failure(app, *bad, f"the version before serves again, as version {app.number}")

    async def _commit(self, app: App, ask: wire.StartApp, plan: Plan) -> None:
        """Saves a version, and has it take the traffic."""
        version, number = f"ve-{secrets.token_hex(16)}", app.number + 1
        await self._saved.put(app, ask.spec, version, number, plan)
        app.spec, app.version, app.number, app.functions = ask.spec, version, number, plan.functions
        self._apps[app.id] = app
        self._hold(app, number, app.spec)
        app.urls = self._endpoints.bind(app.id, app.spec, app.functions, app.deployed)
        self._announce(plan, recreate=ask.strategy == "recreate")
        log.info("app %s (%s): version %d, %d functions, %s", app.name, app.id, number, len(plan.functions), app.state)

    async def history(self, app: App) -> list[Past]:
        """The versions of an app that are kept, the latest first."""
        return await self._saved.history(app)

    async def roll_back(self, app: App, number: int | None, strategy: str = "rolling") -> None:
        """Deploys a kept version of an app again, by default the one before the one that serves. It is tried as any
        other. Raises `NotFoundError`, and what `start` raises."""
        app.need_deployed()
        async with self._lock_of(app.spec):
            if number is None and app.number == 1:
                raise InvalidError(f"app {app.name!r} has one version only: there is none to go back to")
            spec = await self._saved.spec(app, app.number - 1 if number is None else number)
            self._check(spec, deploy=True)
            await self._change(app, wire.StartApp(spec, deploy=True, strategy=strategy))

    async def roll_over(self, app: App, strategy: str) -> None:
        """Deploys the version that serves again, with new containers for all of its functions. Raises what `start`
        raises."""
        app.need_deployed()
        async with self._lock_of(app.spec):
            self._check(app.spec, deploy=True)
            await self._change(app, wire.StartApp(app.spec, deploy=True, strategy=strategy), afresh=True)

    def _lock_of(self, spec: wire.AppSpec) -> asyncio.Lock:
        return self._locks.setdefault((spec.environment, spec.name), asyncio.Lock())

    def _announce(self, plan: Plan, recreate: bool) -> None:
        for function in plan.added:
            old = self._functions.get(function.id)
            if old is not None:
                function.queued, function.notes = old.queued, old.notes
                old.spec = function.spec
                function = old
            else:
                self._functions.add(function)
            self._post(function.added())
            if not function.impossible:
                self._prepare(function)
        for old, new in plan.replaced:
            self._post(events.FunctionReplaced(old.id, new.id))
            self._functions.remove(old.id)
            self._functions.replaced(old.id, new.id)
            if recreate:
                self._post(events.FunctionRemoved(old.id, "its app was deployed anew (recreate)"))
        for function in plan.removed:
            self._functions.remove(function.id)
            self._post(events.FunctionRemoved(function.id, "the new version of its app does not have it", drain=True))

    def _hold(self, app: App, number: int, spec: wire.AppSpec) -> None:
        """Keeps what a version is made of, as long as the version is kept."""
        app.held[number] = blobs_of(spec)
        self._blobs.hold(app.held[number])
        for old in [kept for kept in app.held if kept <= app.number - KEPT_VERSIONS]:
            self._blobs.release(app.held.pop(old))

    async def bind_class(self, base: Function, parameters: bytes) -> str:
        """Returns the id of the variant of a class for one parameter set, which is made if it is new. Raises
        `InvalidError`."""
        variant, new = self._functions.variant(base, parameters)
        if new:
            variant.impossible = base.impossible
            self._saved.put_variant(variant)
            self._post(variant.added())
            self._prepare(variant)
        return variant.id

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def stop(self, app: App, why: str) -> None:
        """Ends an app: its functions, its rows, and its anonymous secrets that no other app uses. Raises
        `NotFoundError` if it has ended already."""
        if app.id not in self._apps:
            raise NotFoundError(f"app {app.name!r} has ended already")
        self._end(app, why)
        await self._saved.remove(app)
        used = {id for other in self._apps.values() for function in other.spec.functions for id in function.secrets}
        own = {id for function in app.spec.functions for id in function.secrets} - used
        await self._secrets.discard(self._secrets.anonymous(sorted(own)))

    def _end(self, app: App, why: str) -> None:
        known = [name for name, id in app.functions.items() if self._functions.get(id) is not None]
        app.words = {name: self.why(app, name) for name in known[:KEPT_WORDS]}
        del self._apps[app.id]
        app.ended = time.time()
        self._ended.append(app)
        self._endpoints.unbind(app.id)
        for function in self._functions.all():
            if function.app == app.id:
                self._functions.remove(function.id)
                self._post(events.FunctionRemoved(function.id, why))
        while app.held:
            self._blobs.release(app.held.popitem()[1])
        self._logs.system(app.id, f"app {app.name} has ended: {why}\n")
        asyncio.get_running_loop().call_later(LOGS_LINGER_S, self._logs.close_app, app.id)
        log.info("app %s (%s) has ended: %s", app.name, app.id, why)

    async def client_gone(self, client: str) -> None:
        """Stops the ephemeral apps of a client that is gone."""
        for app in self.running():
            if app.client == client and not app.deployed and not app.detached:
                await self.stop(app, "the program that ran it is gone")

    async def stop_all(self, environment: str) -> None:
        """Stops all apps of an environment, and forgets those that ended."""
        for app in self.running():
            if app.environment == environment:
                await self.stop(app, "its environment was deleted")
        self._ended = deque((app for app in self._ended if app.environment != environment), maxlen=KEPT_ENDED)

    # ── restart ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def restore(self) -> tuple[events.FunctionAdded, ...]:
        """Restores apps and functions from their rows. Returns the events about them for `Restored`."""
        added: list[events.FunctionAdded] = []
        for app, versions in self._saved.apps():
            self._apps[app.id] = app
            for number, spec in versions.items():
                self._hold(app, number, spec)
        for id, successor, function in self._saved.functions(self._apps):
            if successor:
                self._functions.replaced(id, successor)
            elif function is not None:
                self._functions.add(function)
                if not function.base:
                    self._apps[function.app].functions[function.name] = function.id
                added.append(function.added())
        for app in self._apps.values():
            app.urls = self._endpoints.bind(app.id, app.spec, app.functions, app.deployed)
        return tuple(added)
