"""Answers to the asks of clients, with a method for each kind. `NEEDS` lists the right that each requires. User code in
a container has only the right `call`. Names and ids are found only in environments that the asker reaches."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from inrush import wire
from inrush.core.model.events import ScaleOverridden
from inrush.errors import Error, InvalidError, NotFoundError, PermissionDeniedError
from inrush.server.apps.apps import Apps
from inrush.server.apps.checks import check_app_name
from inrush.server.apps.functions import Functions
from inrush.server.apps.versions import blobs_of
from inrush.server.calls.durable import Durable
from inrush.server.dicts.dicts import Dicts
from inrush.server.fleet.images import Images
from inrush.server.fleet.watch import Watch
from inrush.server.logs import Line, Logs
from inrush.server.payloads.blobs import Blobs, Writer
from inrush.server.secrets.secrets import Secrets
from inrush.server.trust.audit import Audit
from inrush.server.trust.environments import Environments
from inrush.server.trust.possession import Possession
from inrush.server.trust.principal import Right, Scope

if TYPE_CHECKING:
    from inrush.server.links.session import Session

NEEDS: dict[type, Right] = {
    wire.PutBlob: "call",
    wire.HasBlobs: "deploy",
    wire.GetBlob: "call",
    wire.BuildImage: "deploy",
    wire.StartApp: "deploy",
    wire.CheckApp: "deploy",
    wire.StopApp: "deploy",
    wire.FindFunction: "call",
    wire.BindClass: "call",
    wire.OverrideScale: "deploy",
    wire.FunctionStats: "call",
    wire.PutSecret: "deploy",
    wire.FindSecret: "deploy",
    wire.OpenDict: "call",
    wire.DictOp: "call",
    wire.DeleteDict: "call",
    wire.ListDicts: "call",
    wire.FollowLogs: "read",
    wire.FollowStates: "read",
    wire.Interact: "call",
    wire.FindCall: "call",
}
UrlsInside = Callable[[str, dict[str, str], dict[str, str]], Awaitable[tuple[dict[str, str], dict[str, str]]]]
"""The URLs by path and by host name as containers of an environment reach them."""
MAX_UPLOADS = 64
"""The most unfinished uploads of one client; beyond it the oldest is dropped."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Asks:
    """The handlers of all asks."""

    def __init__(
        self,
        apps: Apps,
        functions: Functions,
        blobs: Blobs,
        secrets: Secrets,
        dicts: Dicts,
        logs: Logs,
        watch: Watch,
        images: Images,
        durable: Durable,
        post: Callable[[Any], None],
        stats: Callable[[str], dict[str, int]],
        *,
        environments: Environments,
        possession: Possession,
        audit: Audit,
        urls_inside: UrlsInside,
    ) -> None:
        self._apps, self._functions, self._blobs, self._secrets = apps, functions, blobs, secrets
        self._dicts, self._logs, self._watch, self._images, self._durable = dicts, logs, watch, images, durable
        self._post, self._stats = post, stats
        self._environments, self._possession, self._audit = environments, possession, audit
        self._urls_inside = urls_inside
        self._uploads: dict[tuple[str, str], Upload] = {}
        self._handlers: dict[type, Callable[[Session, int, Any], Awaitable[Any]]] = {
            wire.PutBlob: self._put_blob,
            wire.HasBlobs: self._has_blobs,
            wire.GetBlob: self._get_blob,
            wire.BuildImage: self._build_image,
            wire.StartApp: self._start_app,
            wire.CheckApp: self._check_app,
            wire.StopApp: self._stop_app,
            wire.FindFunction: self._find_function,
            wire.BindClass: self._bind_class,
            wire.OverrideScale: self._override_scale,
            wire.FunctionStats: self._function_stats,
            wire.PutSecret: self._put_secret,
            wire.FindSecret: self._find_secret,
            wire.OpenDict: self._open_dict,
            wire.DictOp: self._dict_op,
            wire.DeleteDict: self._delete_dict,
            wire.ListDicts: self._list_dicts,
            wire.FollowLogs: self._follow_logs,
            wire.FollowStates: self._follow_states,
            wire.Interact: self._interact,
            wire.FindCall: self._find_call,
        }

    async def answer(self, session: Session, rid: int, body: wire.Request) -> Any:
        """Returns the result of an ask. Raises the error with which it is refused, such as `PermissionDeniedError`."""
        self._audit.need(session.principal, NEEDS[type(body)], type(body).__name__)
        return await self._handlers[type(body)](session, rid, body)

    def _scope(self, session: Session, named: str = "") -> Scope:
        return self._environments.scope(session.principal, named, session.environment)

    # ── blobs ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _put_blob(self, session: Session, rid: int, ask: wire.PutBlob) -> str:
        if ask.digest and not _DIGEST.fullmatch(ask.digest):
            raise InvalidError("the digest of a blob is the sha256 of its content, 64 hexadecimal digits")
        if ask.digest and session.container:
            raise PermissionDeniedError("user code in a container may not put sources; deploy from a program outside")
        id = await self._put(session, rid, ask)
        if ask.last:
            self._possession.put(session.principal, id)
        return id

    async def _put(self, session: Session, rid: int, ask: wire.PutBlob) -> str:
        new = self._possession.new_id(session.principal)
        if not ask.upload and ask.last:
            id = await asyncio.to_thread(self._blobs.put, ask.data, ask.digest, session.payer, new)
            session.made(id)
            return id
        key = (session.client, ask.upload or f"up-{rid}")
        upload = self._uploads.get(key)
        if upload is None:
            if sum(client == session.client for client, _ in self._uploads) >= MAX_UPLOADS:
                self._abandon(session.client)
            upload = self._uploads[key] = Upload(self._blobs.create(ask.digest, session.payer, new))
        try:
            async with upload.lock:
                await asyncio.to_thread(upload.writer.write, ask.data)
                if not ask.last:
                    return key[1]
                id = await asyncio.to_thread(upload.writer.commit)
                session.made(id)
                return id
        except Error:
            self._uploads.pop(key, None)
            raise
        finally:
            if ask.last:
                self._uploads.pop(key, None)

    def _abandon(self, client: str) -> None:
        """Drops the oldest upload of a client that begins too many."""
        key = next(key for key in self._uploads if key[0] == client)
        self._uploads.pop(key).writer.abort()

    def client_gone(self, client: str) -> None:
        """Drops the uploads of a client that is gone."""
        for key in [key for key in self._uploads if key[0] == client]:
            self._uploads.pop(key).writer.abort()

    async def _has_blobs(self, session: Session, rid: int, ask: wire.HasBlobs) -> list[str]:
        if session.container:
            raise PermissionDeniedError("user code in a container may not ask which blobs exist")
        has, exists = self._possession.has, self._blobs.exists
        return [id for id in ask.ids if not (has(session.principal, id) and exists(id))]

    async def _get_blob(self, session: Session, rid: int, ask: wire.GetBlob) -> bytes:
        try:
            session.check_read(ask.id)
        except PermissionDeniedError:
            if session.container:
                raise
            raise NotFoundError(f"there is no blob {ask.id!r}") from None
        limit = min(max(ask.limit, 1), 32 * 1024 * 1024)
        return await asyncio.to_thread(self._blobs.read, ask.id, max(ask.offset, 0), limit)

    # ── apps and functions ───────────────────────────────────────────────────────────────────────────────────────────

    async def _build_image(self, session: Session, rid: int, ask: wire.BuildImage) -> dict[str, Any]:
        environment = self._scope(session, ask.environment).environment
        check_app_name(ask.app)
        self._possession.need(session.principal, [blob for step in ask.recipe.steps for _, blob in step.files])
        return await self._images.build(
            ask, environment, lambda kind, text: session.send(wire.Progress(rid, kind, text))
        )

    async def _start_app(self, session: Session, rid: int, ask: wire.StartApp) -> dict[str, Any]:
        named = ask.environment or ("" if ask.spec.environment == wire.MAIN else ask.spec.environment)
        scope = self._scope(session, named)
        ask = msgspec.structs.replace(ask, spec=msgspec.structs.replace(ask.spec, environment=scope.environment))
        self._possession.need(session.principal, blobs_of(ask.spec))
        key = self._environments.key(scope.environment)
        app = await self._apps.start(session.client, ask)
        if scope.environment not in self._environments or self._environments.key(scope.environment) != key:
            await self._apps.stop(app, "its environment was deleted")
            raise NotFoundError(f"the environment {scope.environment!r} was deleted meanwhile")
        what = "deploy" if ask.deploy else "run"
        self._audit.note(session.principal, what, scope.environment, f"{app.name} {app.id} version {app.number}")
        return app.answer()

    async def _check_app(self, session: Session, rid: int, ask: wire.CheckApp) -> tuple[str, ...]:
        return self._apps.check_places(ask.spec)

    async def _stop_app(self, session: Session, rid: int, ask: wire.StopApp) -> None:
        app = self._apps.find(ask.app, self._scope(session, ask.environment))
        self._audit.note(session.principal, "stop", app.environment, f"{app.name} {app.id}")
        await self._apps.stop(app, "it was stopped")

    async def _find_function(self, session: Session, rid: int, ask: wire.FindFunction) -> dict[str, Any]:
        app, function = self._apps.function(ask.app, ask.name, self._scope(session, ask.environment), session.app)
        urls, pages = (_of_function(function.name, kind) for kind in app.urls)
        if session.container:
            urls, pages = await self._urls_inside(app.environment, urls, pages)
        return {"function": function.id, "spec": face(function.spec), "urls": urls, "pages": pages}

    async def _bind_class(self, session: Session, rid: int, ask: wire.BindClass) -> str:
        function = self._functions.need(ask.function, session.principal)
        return await self._apps.bind_class(function, ask.parameters)

    async def _override_scale(self, session: Session, rid: int, ask: wire.OverrideScale) -> None:
        function = self._functions.need(ask.function, session.principal)
        function.override(ask.min_containers, ask.max_containers)
        self._audit.note(session.principal, "scale", function.environment, function.title)
        self._post(
            ScaleOverridden(
                function.id, ask.min_containers, ask.max_containers, ask.buffer_containers, ask.scaledown_window_s
            )
        )

    async def _function_stats(self, session: Session, rid: int, ask: wire.FunctionStats) -> dict[str, int]:
        return self._stats(self._functions.need(ask.function, session.principal).id)

    # ── named things ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _put_secret(self, session: Session, rid: int, ask: wire.PutSecret) -> str:
        environment = self._scope(session, ask.environment).environment
        id = await self._secrets.put(ask.values, environment, ask.name, ask.overwrite)
        if ask.name:
            self._audit.note(session.principal, "put secret", environment, ask.name)
        return id

    async def _find_secret(self, session: Session, rid: int, ask: wire.FindSecret) -> str:
        return self._secrets.find(ask.name, self._scope(session, ask.environment).environment, ask.required)

    async def _open_dict(self, session: Session, rid: int, ask: wire.OpenDict) -> str:
        return await self._dicts.open(ask.name, self._scope(session, ask.environment).environment, ask.create)

    async def _dict_op(self, session: Session, rid: int, ask: wire.DictOp) -> Any:
        return await self._dicts.operate(ask, session.principal)

    async def _delete_dict(self, session: Session, rid: int, ask: wire.DeleteDict) -> None:
        environment = self._scope(session, ask.environment).environment
        await self._dicts.delete(ask.name, environment)
        if not session.container:  # code in containers may do that as often as it likes
            self._audit.note(session.principal, "delete dict", environment, ask.name)

    async def _list_dicts(self, session: Session, rid: int, ask: wire.ListDicts) -> list[dict[str, Any]]:
        return await self._dicts.all(self._scope(session, ask.environment).environment)

    async def _find_call(self, session: Session, rid: int, ask: wire.FindCall) -> dict[str, Any]:
        return await self._durable.find(ask.call, session.principal)

    # ── following ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow_logs(self, session: Session, rid: int, ask: wire.FollowLogs) -> None:
        session.check_follow(rid)
        app = self._apps.find_any(ask.app, self._scope(session, ask.environment))
        follower = LogFollower(session, rid)
        for line in self._logs.latest(app.id, ask.backlog):
            follower.line(line)
        if ask.follow:
            session.follows[rid] = self._logs.follow(app.id, follower)

    async def _follow_states(self, session: Session, rid: int, ask: wire.FollowStates) -> None:
        session.check_follow(rid)
        app = self._apps.find_any(ask.app, self._scope(session, ask.environment))

        def tell(kind: str, subject: str, state: str, why: str) -> None:
            if kind != "interact" or not session.congested():  # containers ask as often as they like
                session.send(wire.State(rid, kind, subject, state, why))

        session.follows[rid] = self._watch.follow(app.id, tell, interactive=ask.interactive)

    async def _interact(self, session: Session, rid: int, ask: wire.Interact) -> None:
        if not self._watch.invite(session.container, ask.program, ask.place):
            raise InvalidError("nobody runs this app at a terminal: `inrush run -i` does")


def face(spec: wire.FunctionSpec) -> wire.FunctionSpec:
    """The part of a spec that a caller needs: name, methods and parameters, and not variables, secrets, image or
    source."""
    return wire.FunctionSpec(
        name=spec.name,
        is_class=spec.is_class,
        methods=spec.methods,
        generators=spec.generators,
        parameters=spec.parameters,
    )


class Upload:
    """A blob that arrives in pieces, one after the other."""

    __slots__ = ("lock", "writer")

    def __init__(self, writer: Writer) -> None:
        self.lock = asyncio.Lock()
        self.writer = writer


class LogFollower:
    """Sends the lines of a log to a client as `Log` messages."""

    def __init__(self, session: Session, rid: int) -> None:
        self._session, self._rid = session, rid

    def room(self) -> bool:
        return not self._session.congested()

    def line(self, line: Line) -> None:
        self._session.send(wire.Log(self._rid, *line))


def _of_function(name: str, urls: dict[str, str]) -> dict[str, str]:
    """The endpoints of one function or class among those of its app, by method."""
    parts = [(full.partition("."), url) for full, url in urls.items()]
    return {method: url for (function, _, method), url in parts if function == name}
