"""Routes about Secrets. Values of Secrets are never returned."""

from __future__ import annotations

from starlette.requests import Request

from inrush.errors import InvalidError
from inrush.server.api import schema
from inrush.server.api.handlers import Handlers
from inrush.server.api.route import Route, who


class SecretRoutes(Handlers):
    """The handlers of one server."""

    def routes(self) -> list[Route]:
        """All routes of this file."""
        return [
            Route("GET", "/secrets", "read", "Named secrets, without values", list[schema.Secret], self.secrets),
            Route(
                "POST", "/secrets", "deploy", "Create or replace a secret", schema.Secret, self.put_secret,
                schema.NewSecret,
            ),
            Route("DELETE", "/secrets/{name}", "deploy", "Delete a secret", schema.Done, self.delete_secret),
        ]  # fmt: skip

    async def secrets(self, request: Request) -> list[schema.Secret]:
        return [schema.Secret(**told) for told in self._server.secrets.named(self._scope(request).environment)]

    async def put_secret(self, request: Request, body: schema.NewSecret) -> schema.Secret:
        if not body.name:
            raise InvalidError("a secret needs a name")
        environment, server = self._scope(request).environment, self._server
        id = await server.secrets.put(tuple(body.values.items()), environment, body.name, body.overwrite)
        server.audit.note(who(request), "put secret", environment, body.name)
        return schema.Secret(**next(told for told in server.secrets.named(environment) if told["id"] == id))

    async def delete_secret(self, request: Request) -> schema.Done:
        name, environment = request.path_params["name"], self._scope(request).environment
        await self._server.secrets.delete(name, environment)
        self._server.audit.note(who(request), "delete secret", environment, name)
        return schema.Done()
