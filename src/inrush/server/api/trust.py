"""Routes about environments, tokens and the audit log."""

from __future__ import annotations

from starlette.requests import Request

from inrush.errors import ConflictError
from inrush.server.api import schema
from inrush.server.api.handlers import Handlers
from inrush.server.api.route import Route, number, who

DEFAULT_ACTS = 100


class TrustRoutes(Handlers):
    """The handlers of one server."""

    def routes(self) -> list[Route]:
        """All routes of this file."""
        force = (("force", "1: also one with apps that run or are deployed"),)
        acts = (("limit", f"Last acts that are told ({DEFAULT_ACTS})"), ("refused", "1: who was refused what, instead"))
        return [
            Route("GET", "/environments", "read", "Environments", list[schema.Environment], self.environments),
            Route(
                "POST", "/environments", "admin", "Make an environment", schema.Done, self.create_environment,
                schema.NewEnvironment, everywhere=True,
            ),
            Route(
                "DELETE", "/environments/{name}", "admin", "Delete an environment and all in it", schema.Done,
                self.delete_environment, query=force, everywhere=True,
            ),
            Route("GET", "/tokens", "admin", "Tokens, without what makes them work", list[schema.Token], self.tokens),
            Route(
                "POST", "/tokens", "admin", "Make a token; it is told once", schema.CreatedToken, self.create_token,
                schema.NewToken,
            ),
            Route("DELETE", "/tokens/{token}", "admin", "Revoke a token (id or name)", schema.Done, self.revoke_token),
            Route("GET", "/audit", "admin", "Who did what, lately", list[schema.Act], self.audit, query=acts),
        ]  # fmt: skip

    # ── environments ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def environments(self, request: Request) -> list[schema.Environment]:
        running = [app.environment for app in self._server.apps.running()]
        return [
            schema.Environment(name=name, created=created, apps=running.count(name))
            for name, created in self._server.environments.all()
            if who(request).reaches(name)
        ]

    async def create_environment(self, request: Request, body: schema.NewEnvironment) -> schema.Done:
        await self._server.environments.create(body.name)
        self._server.audit.note(who(request), "create environment", body.name)
        return schema.Done()

    async def delete_environment(self, request: Request) -> schema.Done:
        name, server = request.path_params["name"], self._server
        apps = sorted({app.name for app in server.apps.running() if app.environment == name})
        if apps and not number(request, "force", 0):
            raise ConflictError(
                f"the environment {name!r} has apps: {', '.join(apps[:5])}; stop them first, or confirm with --yes"
            )
        await server.delete_environment(name)
        server.audit.note(who(request), "delete environment", name)
        return schema.Done()

    # ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def tokens(self, request: Request) -> list[schema.Token]:
        principal = who(request)
        return [
            schema.Token(**token.describe())
            for token in self._server.tokens.all()
            if not principal.environment or principal.environment == token.principal.environment
        ]

    async def create_token(self, request: Request, body: schema.NewToken) -> schema.CreatedToken:
        principal, server = who(request), self._server
        environment = body.environment
        if environment:
            environment = server.environments.scope(principal, environment).environment
        token, text = await server.tokens.create(principal, body.name, tuple(body.rights), environment, body.lasts_s)
        about = f"{body.name} {token.id} {' '.join(sorted(body.rights))}"
        server.audit.note(principal, "create token", environment, about)
        return schema.CreatedToken(token=text, **token.describe())

    async def revoke_token(self, request: Request) -> schema.Done:
        token = await self._server.tokens.revoke(who(request), request.path_params["token"])
        about = f"{token.principal.name} {token.id}"
        self._server.audit.note(who(request), "revoke token", token.principal.environment, about)
        return schema.Done()

    async def audit(self, request: Request) -> list[schema.Act]:
        count = number(request, "limit", DEFAULT_ACTS)
        acts = self._server.audit.latest(count, who(request), bool(number(request, "refused", 0)))
        return [schema.Act(**act) for act in acts]
