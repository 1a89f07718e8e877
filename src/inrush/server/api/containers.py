"""Routes about containers."""

from __future__ import annotations

from starlette.requests import Request

from inrush.core.model.events import ContainerDrained
from inrush.errors import NotFoundError
from inrush.server.api import schema
from inrush.server.api.handlers import Handlers
from inrush.server.api.route import Route, number, who
from inrush.server.fleet import containers


class ContainerRoutes(Handlers):
    """The handlers of one server."""

    def routes(self) -> list[Route]:
        """All routes of this file."""
        shown = (("app", "Only those of this app (id or name)"), ("all", "1: also those that ended lately"))
        return [
            Route(
                "GET", "/containers", "read", "Containers that start or run", list[schema.Container], self.containers,
                query=shown,
            ),
            Route("GET", "/containers/{id}", "read", "One container", schema.Container, self.container),
            Route(
                "POST", "/containers/{id}/stop", "deploy", "Stop a container", schema.Done, self.stop_container,
                query=(("graceful", "1: once it has finished what it runs"),),
            ),
        ]  # fmt: skip

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
        if number(request, "graceful", 0):
            self._server.loop.post(ContainerDrained(container.id, "it was stopped by hand"))
        else:
            self._server.nodes.stop_by_hand(container)
        return schema.Done()


def _container(container: containers.Container) -> schema.Container:
    return schema.Container(**container.describe())
