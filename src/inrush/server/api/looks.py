"""Routes about apps, functions, containers, nodes, pools and the server."""

from __future__ import annotations

import os

import msgspec
from starlette.requests import Request

from inrush.core.model.events import ScaleOverridden
from inrush.errors import NotFoundError
from inrush.server.api import schema
from inrush.server.api.route import Route, number, who
from inrush.server.apps import functions
from inrush.server.apps.versions import App
from inrush.server.control import ControlPlane
from inrush.server.fleet import containers
from inrush.server.trust.principal import Scope


class Looks:
    """The handlers of one server."""

    def __init__(self, server: ControlPlane) -> None:
        self._server = server

    def routes(self) -> list[Route]:
        """All routes of this file."""
        shown = (("app", "Only those of this app (id or name)"), ("all", "1: also those that ended lately"))
        return [
            Route("GET", "/status", "read", "The server, and what it has to do", schema.Status, self.status),
            Route(
                "POST",
                "/shutdown",
                "admin",
                "End the server: containers get their grace",
                schema.Done,
                self.shutdown,
                everywhere=True,
            ),
            Route(
                "GET",
                "/journal",
                "admin",
                "What the scheduler was told lately",
                schema.Journal,
                self.journal,
                everywhere=True,
            ),
            Route("GET", "/apps", "read", "Apps that run or are deployed", list[schema.App], self.apps),
            Route("GET", "/apps/{app}", "read", "One app, also one that ended lately", schema.AppDetail, self.app),
            Route(
                "POST", "/apps/{app}/stop", "deploy", "End an app: its calls are cancelled", schema.Done, self.stop_app
            ),
            Route(
                "GET",
                "/apps/{app}/versions",
                "read",
                "Deploys of an app, the latest first",
                list[schema.Version],
                self.versions,
            ),
            Route(
                "POST",
                "/apps/{app}/rollback",
                "deploy",
                "Deploy an earlier version again",
                schema.App,
                self.roll_back,
                schema.RollBack,
            ),
            Route(
                "GET",
                "/containers",
                "read",
                "Containers that start or run",
                list[schema.Container],
                self.containers,
                query=shown,
            ),
            Route("GET", "/containers/{id}", "read", "One container", schema.Container, self.container),
            Route("POST", "/containers/{id}/stop", "deploy", "Stop a container", schema.Done, self.stop_container),
            Route(
                "GET", "/functions/{app}/{name}/why", "read", "Why it has the containers it has", schema.Why, self.why
            ),
            Route(
                "POST",
                "/functions/{app}/{name}/scale",
                "deploy",
                "Override its scale",
                schema.Done,
                self.scale,
                schema.Scale,
            ),
            Route("GET", "/nodes", "read", "Attached machines", list[schema.Node], self.nodes),
            Route("GET", "/pools", "read", "Where nodes come from", list[schema.Pool], self.pools, everywhere=True),
        ]

    # ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _scope(self, request: Request) -> Scope:
        return self._server.environments.scope(who(request), request.query_params.get("environment", ""))

    async def status(self, request: Request) -> schema.Status:
        """Answers `/status`; it counts only what the token reaches."""
        server, principal = self._server, who(request)
        functions = [f for f in server.functions.all() if principal.reaches(f.environment)]
        return schema.Status(
            version=server.version,
            pid=os.getpid(),
            url=server.url,
            boot=server.boot,
            started=server.started,
            apps=sum(principal.reaches(app.environment) for app in server.apps.running()),
            functions=len(functions),
            containers=sum(principal.reaches(c.function.environment) for c in server.containers.all()),
            nodes=len(server.nodes),
            clients=server.sessions.count(principal),
            calls=server.calls.count(principal),
            durable_calls=server.durable.count(principal),
            stopping=server.ending,
        )

    async def shutdown(self, request: Request) -> schema.Done:
        self._server.audit.note(who(request), "shutdown", "")
        self._server.ask_to_end("somebody asked for it")
        return schema.Done()

    async def journal(self, request: Request) -> schema.Journal:
        return schema.Journal(file=self._server.loop.journal.file(self._server.version))

    async def nodes(self, request: Request) -> list[schema.Node]:
        reaches = who(request).reaches
        live = [c for c in self._server.containers.all() if reaches(c.function.environment)]
        told = []
        for node in self._server.nodes.all():
            own = [c for c in live if c.node == node.id]
            has = node.inventory
            gpus = [
                schema.Gpu(
                    type=gpu.type,
                    index=gpu.index,
                    memory_mib=gpu.memory_mib,
                    declared=gpu.declared,
                    used_by=next((c.id for c in own if gpu.index in c.gpus), ""),
                )
                for gpu in (has.gpus if has is not None else ())
            ]
            cpu, memory = (has.cpu, has.memory_mib) if has is not None else (0.0, 0)
            told.append(
                schema.Node(id=node.id, pool=node.pool, cpu=cpu, memory_mib=memory, containers=len(own), gpus=gpus)
            )
        return told

    async def pools(self, request: Request) -> list[schema.Pool]:
        return [schema.Pool(**told) for told in self._server.pools.describe()]

    # ── apps and functions ───────────────────────────────────────────────────────────────────────────────────────────

    async def apps(self, request: Request) -> list[schema.App]:
        environment = self._scope(request).environment
        return [self._app(app) for app in self._server.apps.running() if app.environment == environment]

    async def app(self, request: Request) -> schema.AppDetail:
        app = self._server.apps.find_any(request.path_params["app"], self._scope(request))
        details = [self._function(f) for f in self._server.functions.all() if f.app == app.id]
        return schema.AppDetail(details=details, **msgspec.structs.asdict(self._app(app)))

    async def stop_app(self, request: Request) -> schema.Done:
        app = self._server.apps.find(request.path_params["app"], self._scope(request))
        self._server.audit.note(who(request), "stop", app.environment, f"{app.name} {app.id}")
        await self._server.apps.stop(app, "it was stopped")
        return schema.Done()

    async def versions(self, request: Request) -> list[schema.Version]:
        app = self._server.apps.find(request.path_params["app"], self._scope(request))
        past = await self._server.apps.history(app)
        return [schema.Version(number=v.number, id=v.id, created=v.created, serves=v.id == app.version) for v in past]

    async def roll_back(self, request: Request, body: schema.RollBack) -> schema.App:
        app = self._server.apps.find(request.path_params["app"], self._scope(request))
        await self._server.apps.roll_back(app, body.version)
        about = f"{app.name} {app.id} version {app.number}"
        self._server.audit.note(who(request), "rollback", app.environment, about)
        return self._app(app)

    async def why(self, request: Request) -> schema.Why:
        apps = self._server.apps
        app = apps.find_any(request.path_params["app"], self._scope(request))
        return schema.Why(lines=apps.why(app, request.path_params["name"]))

    async def scale(self, request: Request, body: schema.Scale) -> schema.Done:
        functions = self._variants(request)
        self._server.audit.note(who(request), "scale", functions[0].environment, functions[0].title)
        for function in functions:
            self._server.loop.post(
                ScaleOverridden(
                    function.id,
                    body.min_containers,
                    body.max_containers,
                    body.buffer_containers,
                    body.scaledown_window_s,
                )
            )
        return schema.Done()

    def _variants(self, request: Request) -> list[functions.Function]:
        app = self._server.apps.find(request.path_params["app"], self._scope(request))
        function = self._server.apps.function_of(app, request.path_params["name"])
        return [function, *self._server.functions.variants(function.id)]

    def _app(self, app: App) -> schema.App:
        return schema.App(
            name=app.name,
            id=app.id,
            environment=app.environment,
            state=app.state,
            version=app.number,
            functions=sorted(app.functions),
            containers=sum(c.function.app == app.id for c in self._server.containers.all()),
            created=app.created,
            ended=app.ended,
            urls=app.urls.paths,
            pages=app.urls.pages,
        )

    def _function(self, function: functions.Function) -> schema.Function:
        return schema.Function(
            id=function.id,
            name=function.title,
            waiting=function.waiting,
            decided=function.decided,
            **self._server.loop.core.stats(function.id),
        )

    # ── containers ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def containers(self, request: Request) -> list[schema.Container]:
        wanted = request.query_params.get("app", "")
        ended_too = number(request, "all", 0)
        environment = self._scope(request).environment
        every = self._server.containers.latest() if ended_too else self._server.containers.all()
        every = [c for c in every if c.function.environment == environment]
        return [_container(c) for c in every if not wanted or wanted in (c.function.app, c.function.app_name)]

    async def container(self, request: Request) -> schema.Container:
        return _container(self._server.containers.need(request.path_params["id"], who(request)))

    async def stop_container(self, request: Request) -> schema.Done:
        container = self._server.containers.live(request.path_params["id"])
        if container is None or not who(request).reaches(container.function.environment):
            raise NotFoundError(f"no container {request.path_params['id']!r} is running")
        about = f"{container.id} of {container.function.app_name}"
        self._server.audit.note(who(request), "stop container", container.function.environment, about)
        self._server.nodes.stop_by_hand(container)
        return schema.Done()


def _container(container: containers.Container) -> schema.Container:
    return schema.Container(**container.describe())
