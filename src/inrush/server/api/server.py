"""Routes about the server, its nodes and its pools."""

from __future__ import annotations

import os

from starlette.requests import Request

from inrush.server.api import schema
from inrush.server.api.handlers import Handlers
from inrush.server.api.route import Route, who


class ServerRoutes(Handlers):
    """The handlers of one server."""

    def routes(self) -> list[Route]:
        """All routes of this file."""
        return [
            Route("GET", "/status", "read", "The server, and what it has to do", schema.Status, self.status),
            Route(
                "POST", "/shutdown", "admin", "End the server: containers get their grace", schema.Done, self.shutdown,
                everywhere=True,
            ),
            Route(
                "GET", "/journal", "admin", "What the scheduler was told lately", schema.Journal, self.journal,
                everywhere=True,
            ),
            Route("GET", "/nodes", "read", "Attached machines", list[schema.Node], self.nodes),
            Route("GET", "/pools", "read", "Where nodes come from", list[schema.Pool], self.pools, everywhere=True),
        ]  # fmt: skip

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
