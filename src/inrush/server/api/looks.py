"""Routes that look, and the few that act: apps, functions, containers, nodes, pools, secrets, dicts, the server."""

from __future__ import annotations

import os

import msgspec
from starlette.requests import Request

from inrush.core.model.events import ScaleOverridden
from inrush.errors import InvalidError, NotFoundError
from inrush.server.api import schema
from inrush.server.api.route import Route, number
from inrush.server.apps import functions
from inrush.server.apps.versions import App
from inrush.server.control import ControlPlane
from inrush.server.fleet import containers


class Looks:
    """The handlers of one server."""

    def __init__(self, server: ControlPlane) -> None:
        self._server = server

    def routes(self) -> list[Route]:
        """All of them."""
        shown = (("app", "Only those of this app (id or name)"), ("all", "1: also those that ended lately"))
        return [
            Route("GET", "/status", "The server, and what it has to do", schema.Status, self.status),
            Route("POST", "/shutdown", "End the server: containers get their grace", schema.Done, self.shutdown),
            Route("GET", "/journal", "What the scheduler was told lately", schema.Journal, self.journal),
            Route("GET", "/apps", "Apps that run or are deployed", list[schema.App], self.apps),
            Route("GET", "/apps/{app}", "One app, also one that ended lately", schema.AppDetail, self.app),
            Route("POST", "/apps/{app}/stop", "End an app: its calls are cancelled", schema.Done, self.stop_app),
            Route(
                "GET",
                "/containers",
                "Containers that start or run",
                list[schema.Container],
                self.containers,
                query=shown,
            ),
            Route("GET", "/containers/{id}", "One container", schema.Container, self.container),
            Route("POST", "/containers/{id}/stop", "Stop a container", schema.Done, self.stop_container),
            Route("GET", "/functions/{app}/{name}/why", "Why it has the containers it has", schema.Why, self.why),
            Route("POST", "/functions/{app}/{name}/scale", "Override its scale", schema.Done, self.scale, schema.Scale),
            Route("GET", "/nodes", "Attached machines", list[schema.Node], self.nodes),
            Route("GET", "/pools", "Where nodes come from", list[schema.Pool], self.pools),
            Route("GET", "/secrets", "Named secrets, without values", list[schema.Secret], self.secrets),
            Route("POST", "/secrets", "Create or replace a secret", schema.Secret, self.put_secret, schema.NewSecret),
            Route("DELETE", "/secrets/{name}", "Delete a secret", schema.Done, self.delete_secret),
            Route("GET", "/dicts", "Named Dicts", list[schema.Dict], self.dicts),
        ]

    # ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def status(self, request: Request) -> schema.Status:
        server = self._server
        return schema.Status(
            version=server.version,
            pid=os.getpid(),
            url=server.url,
            boot=server.boot,
            started=server.started,
            apps=len(server.apps.running()),
            functions=len(server.functions.all()),
            containers=len(server.containers.all()),
            nodes=len(server.nodes),
            clients=len(server.sessions),
            calls=len(server.calls),
            durable_calls=len(server.durable),
            stopping=server.ending,
        )

    async def shutdown(self, request: Request) -> schema.Done:
        self._server.ask_to_end("somebody asked for it")
        return schema.Done()

    async def journal(self, request: Request) -> schema.Journal:
        return schema.Journal(file=self._server.loop.journal.file(self._server.version))

    async def nodes(self, request: Request) -> list[schema.Node]:
        live = self._server.containers.all()
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
        return [self._app(app) for app in self._server.apps.running()]

    async def app(self, request: Request) -> schema.AppDetail:
        app = self._server.apps.find_any(request.path_params["app"])
        details = [self._function(f) for f in self._server.functions.all() if f.app == app.id]
        return schema.AppDetail(details=details, **msgspec.structs.asdict(self._app(app)))

    async def stop_app(self, request: Request) -> schema.Done:
        await self._server.apps.stop(request.path_params["app"], "it was stopped")
        return schema.Done()

    async def why(self, request: Request) -> schema.Why:
        apps = self._server.apps
        app = apps.find_any(request.path_params["app"])
        return schema.Why(lines=apps.why(app, request.path_params["name"]))

    async def scale(self, request: Request, body: schema.Scale) -> schema.Done:
        for function in self._variants(request):
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
        app = self._server.apps.find(request.path_params["app"])
        function = self._server.apps.function(app.id, request.path_params["name"])
        return [function, *self._server.functions.variants(function.id)]

    def _app(self, app: App) -> schema.App:
        return schema.App(
            name=app.name,
            id=app.id,
            state=app.state,
            version=app.number,
            functions=sorted(app.functions),
            containers=sum(c.function.app == app.id for c in self._server.containers.all()),
            created=app.created,
            ended=app.ended,
            urls=app.urls,
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
        every = self._server.containers.latest() if ended_too else self._server.containers.all()
        return [_container(c) for c in every if not wanted or wanted in (c.function.app, c.function.app_name)]

    async def container(self, request: Request) -> schema.Container:
        return _container(self._server.containers.need(request.path_params["id"]))

    async def stop_container(self, request: Request) -> schema.Done:
        container = self._server.containers.live(request.path_params["id"])
        if container is None:
            raise NotFoundError(f"no container {request.path_params['id']!r} is running")
        self._server.nodes.stop_by_hand(container)
        return schema.Done()

    # ── named things ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def secrets(self, request: Request) -> list[schema.Secret]:
        return [schema.Secret(**told) for told in self._server.secrets.named()]

    async def put_secret(self, request: Request, body: schema.NewSecret) -> schema.Secret:
        if not body.name:
            raise InvalidError("a secret needs a name")
        id = await self._server.secrets.put(tuple(body.values.items()), body.name, body.overwrite)
        return schema.Secret(**next(told for told in self._server.secrets.named() if told["id"] == id))

    async def delete_secret(self, request: Request) -> schema.Done:
        await self._server.secrets.delete(request.path_params["name"])
        return schema.Done()

    async def dicts(self, request: Request) -> list[schema.Dict]:
        return [schema.Dict(**told) for told in await self._server.dicts.all()]


def _container(container: containers.Container) -> schema.Container:
    return schema.Container(**container.describe())
