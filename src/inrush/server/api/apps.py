"""Routes about apps, their versions and their functions."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from inrush.core.model.events import ScaleOverridden
from inrush.server.api import schema
from inrush.server.api.handlers import Handlers
from inrush.server.api.route import Route, number, who
from inrush.server.apps.functions import Function
from inrush.server.apps.versions import App
from inrush.wire import GpuRequest


class AppRoutes(Handlers):
    """The handlers of one server."""

    def routes(self) -> list[Route]:
        """All routes of this file."""
        return [
            Route(
                "GET", "/apps", "read", "Apps that run or are deployed", list[schema.App], self.apps,
                query=(("all", "1: also those that ended lately"),),
            ),
            Route("GET", "/apps/{app}", "read", "One app, also one that ended lately", schema.AppDetail, self.app),
            Route(
                "POST", "/apps/{app}/stop", "deploy", "End an app: its calls are cancelled", schema.Done, self.stop_app
            ),
            Route(
                "GET", "/apps/{app}/versions", "read", "Deploys of an app, the latest first", list[schema.Version],
                self.versions,
            ),
            Route(
                "POST", "/apps/{app}/rollback", "deploy", "Deploy an earlier version again", schema.App,
                self.roll_back, schema.RollBack,
            ),
            Route(
                "POST", "/apps/{app}/rollover", "deploy", "Replace all containers of an app, with the same code",
                schema.App, self.roll_over, schema.RollOver,
            ),
            Route(
                "GET", "/functions/{app}/{name}", "read", "One function, and how it scales", schema.FunctionDetail,
                self.function,
            ),
            Route(
                "GET", "/functions/{app}/{name}/why", "read", "Why it has the containers it has", schema.Why, self.why
            ),
            Route(
                "POST", "/functions/{app}/{name}/scale", "deploy", "Override its scale", schema.Done, self.scale,
                schema.Scale,
            ),
        ]  # fmt: skip

    async def apps(self, request: Request) -> list[schema.App]:
        environment, known = self._scope(request).environment, self._server.apps
        every = [*(known.ended() if number(request, "all", 0) else ()), *known.running()]
        return [self._app(app) for app in every if app.environment == environment]

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
        return [schema.Version(**v._asdict(), serves=v.id == app.version) for v in past]

    async def roll_back(self, request: Request, body: schema.RollBack) -> schema.App:
        app = self._server.apps.find(request.path_params["app"], self._scope(request))
        await self._server.apps.roll_back(app, body.version, body.strategy)
        about = f"{app.name} {app.id} version {app.number}"
        self._server.audit.note(who(request), "rollback", app.environment, about)
        return self._app(app)

    async def roll_over(self, request: Request, body: schema.RollOver) -> schema.App:
        app = self._server.apps.find(request.path_params["app"], self._scope(request))
        await self._server.apps.roll_over(app, body.strategy)
        about = f"{app.name} {app.id} version {app.number}"
        self._server.audit.note(who(request), "rollover", app.environment, about)
        return self._app(app)

    async def function(self, request: Request) -> schema.FunctionDetail:
        app = self._server.apps.find(request.path_params["app"], self._scope(request))
        function = self._server.apps.function_of(app, request.path_params["name"])
        policy, wants = self._server.loop.core.policy(function.id), function.spec.resources
        return schema.FunctionDetail(
            **msgspec.structs.asdict(self._function(function)),
            app=app.id,
            cpu=wants.cpu,
            memory_mib=wants.memory_mib,
            gpu=[_gpu(wanted) for wanted in wants.gpu],
            timeout_s=function.spec.timeout_s,
            max_inputs=policy.max_inputs,
            min_containers=policy.min_containers,
            max_containers=policy.max_containers,
            buffer_containers=policy.buffer_containers,
            scaledown_window_s=policy.scaledown_window_s,
        )

    async def why(self, request: Request) -> schema.Why:
        apps = self._server.apps
        app = apps.find_any(request.path_params["app"], self._scope(request))
        return schema.Why(lines=apps.why(app, request.path_params["name"]))

    async def scale(self, request: Request, body: schema.Scale) -> schema.Done:
        functions = self._variants(request)
        functions[0].override(body.min_containers, body.max_containers)
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

    def _variants(self, request: Request) -> list[Function]:
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

    def _function(self, function: Function) -> schema.Function:
        return schema.Function(
            id=function.id,
            name=function.title,
            waiting=function.waiting,
            decided=function.decided,
            **self._server.loop.core.stats(function.id),
        )


def _gpu(wanted: GpuRequest) -> str:
    """A request as `gpu=` takes it."""
    amount = wanted.share if wanted.share < 1 else wanted.count
    return wanted.type if amount == 1 else f"{wanted.type}:{amount:g}"
