"""Answers to what clients ask: one method a request. `OWNER_ONLY` requests are refused to user code in containers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from inrush import wire
from inrush.core.model.events import ScaleOverridden
from inrush.errors import Error, InvalidError, PermissionDeniedError
from inrush.server.apps.apps import Apps
from inrush.server.apps.functions import Functions
from inrush.server.calls.durable import Durable
from inrush.server.fleet.images import Images
from inrush.server.fleet.watch import Watch
from inrush.server.logs import Line, Logs
from inrush.server.payloads.blobs import Blobs, Writer
from inrush.server.things.dicts import Dicts
from inrush.server.things.secrets import Secrets

if TYPE_CHECKING:
    from inrush.server.links.sessions import Session

OWNER_ONLY = (
    wire.BuildImage, wire.StartApp, wire.StopApp, wire.OverrideScale, wire.PutSecret, wire.FindSecret, wire.FollowLogs,
    wire.FollowStates,
)  # fmt: skip
MAX_UPLOADS = 64
"""Blobs that one client may be putting at once."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Asks:
    """Made by `control.py` with all that it needs."""

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
    ) -> None:
        self._apps, self._functions, self._blobs, self._secrets = apps, functions, blobs, secrets
        self._dicts, self._logs, self._watch, self._images, self._durable = dicts, logs, watch, images, durable
        self._post, self._stats = post, stats
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
            wire.FindCall: self._find_call,
        }

    async def answer(self, session: Session, rid: int, body: wire.Request) -> Any:
        """The result of an ask; raises the error it is refused with."""
        if session.container and isinstance(body, OWNER_ONLY):
            raise PermissionDeniedError(
                f"user code in a container may not do this ({type(body).__name__}); do it from the program that deploys"
            )
        return await self._handlers[type(body)](session, rid, body)

    # ── blobs ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _put_blob(self, session: Session, rid: int, ask: wire.PutBlob) -> str:
        if ask.digest and not _DIGEST.fullmatch(ask.digest):
            raise InvalidError("the digest of a blob is the sha256 of its content, 64 hexadecimal digits")
        if not ask.upload and ask.last:
            return await asyncio.to_thread(self._blobs.put, ask.data, ask.digest)
        key = (session.client, ask.upload or f"up-{rid}")
        upload = self._uploads.get(key)
        if upload is None:
            if sum(client == session.client for client, _ in self._uploads) >= MAX_UPLOADS:
                self._abandon(session.client)
            upload = self._uploads[key] = Upload(self._blobs.create(ask.digest))
        try:
            async with upload.lock:
                await asyncio.to_thread(upload.writer.write, ask.data)
                if not ask.last:
                    return key[1]
                return await asyncio.to_thread(upload.writer.commit)
        except Error:
            self._uploads.pop(key, None)
            raise
        finally:
            if ask.last:
                self._uploads.pop(key, None)

    def _abandon(self, client: str) -> None:
        """The oldest upload of a client that begins too many."""
        key = next(key for key in self._uploads if key[0] == client)
        self._uploads.pop(key).writer.abort()

    def client_gone(self, client: str) -> None:
        """Uploads that will not be completed."""
        for key in [key for key in self._uploads if key[0] == client]:
            self._uploads.pop(key).writer.abort()

    async def _has_blobs(self, session: Session, rid: int, ask: wire.HasBlobs) -> list[str]:
        return [id for id in ask.ids if not self._blobs.exists(id)]

    async def _get_blob(self, session: Session, rid: int, ask: wire.GetBlob) -> bytes:
        if session.container and ask.id.startswith("sha256-"):
            raise PermissionDeniedError("sources are not for user code in a container")
        limit = min(max(ask.limit, 1), 32 * 1024 * 1024)
        return await asyncio.to_thread(self._blobs.read, ask.id, max(ask.offset, 0), limit)

    # ── apps and functions ───────────────────────────────────────────────────────────────────────────────────────────

    async def _build_image(self, session: Session, rid: int, ask: wire.BuildImage) -> dict[str, Any]:
        environment = ask.environment or wire.MAIN
        return await self._images.build(
            ask, environment, lambda kind, text: session.send(wire.Progress(rid, kind, text))
        )

    async def _start_app(self, session: Session, rid: int, ask: wire.StartApp) -> dict[str, Any]:
        return (await self._apps.start(session.client, ask)).answer()

    async def _check_app(self, session: Session, rid: int, ask: wire.CheckApp) -> None:
        self._apps.check_places(ask.spec)

    async def _stop_app(self, session: Session, rid: int, ask: wire.StopApp) -> None:
        await self._apps.stop(ask.app, "it was stopped")

    async def _find_function(self, session: Session, rid: int, ask: wire.FindFunction) -> dict[str, Any]:
        function = self._apps.function(ask.app, ask.name, session.app)
        parts = [(full.partition("."), url) for full, url in self._apps.find(function.app).urls.items()]
        urls = {method: url for (name, _, method), url in parts if name == function.name}
        return {"function": function.id, "spec": function.spec, "urls": urls}

    async def _bind_class(self, session: Session, rid: int, ask: wire.BindClass) -> str:
        return await self._apps.bind_class(ask.function, ask.parameters)

    async def _override_scale(self, session: Session, rid: int, ask: wire.OverrideScale) -> None:
        function = self._functions.need(ask.function)
        self._post(
            ScaleOverridden(
                function.id, ask.min_containers, ask.max_containers, ask.buffer_containers, ask.scaledown_window_s
            )
        )

    async def _function_stats(self, session: Session, rid: int, ask: wire.FunctionStats) -> dict[str, int]:
        return self._stats(self._functions.need(ask.function).id)

    # ── named things ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _put_secret(self, session: Session, rid: int, ask: wire.PutSecret) -> str:
        return await self._secrets.put(ask.values, ask.name, ask.overwrite)

    async def _find_secret(self, session: Session, rid: int, ask: wire.FindSecret) -> str:
        return self._secrets.find(ask.name, ask.required)

    async def _open_dict(self, session: Session, rid: int, ask: wire.OpenDict) -> str:
        return await self._dicts.open(ask.name, ask.create)

    async def _dict_op(self, session: Session, rid: int, ask: wire.DictOp) -> Any:
        return await self._dicts.operate(ask)

    async def _delete_dict(self, session: Session, rid: int, ask: wire.DeleteDict) -> None:
        await self._dicts.delete(ask.name)

    async def _list_dicts(self, session: Session, rid: int, ask: wire.ListDicts) -> list[dict[str, Any]]:
        return await self._dicts.all()

    async def _find_call(self, session: Session, rid: int, ask: wire.FindCall) -> dict[str, Any]:
        return await self._durable.find(ask.call)

    # ── following ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow_logs(self, session: Session, rid: int, ask: wire.FollowLogs) -> None:
        app = self._apps.find_any(ask.app)
        follower = LogFollower(session, rid)
        for line in self._logs.latest(app.id, ask.backlog):
            follower.line(line)
        if ask.follow:
            session.follows[rid] = self._logs.follow(app.id, follower)

    async def _follow_states(self, session: Session, rid: int, ask: wire.FollowStates) -> None:
        app = self._apps.find_any(ask.app)

        def tell(kind: str, subject: str, state: str, why: str) -> None:
            session.send(wire.State(rid, kind, subject, state, why))

        session.follows[rid] = self._watch.follow(app.id, tell)


class Upload:
    """A blob that arrives in parts, one after the other."""

    __slots__ = ("lock", "writer")

    def __init__(self, writer: Writer) -> None:
        self.lock = asyncio.Lock()
        self.writer = writer


class LogFollower:
    """Lines of logs, as messages to a client."""

    def __init__(self, session: Session, rid: int) -> None:
        self._session, self._rid = session, rid

    def room(self) -> bool:
        return not self._session.congested()

    def line(self, line: Line) -> None:
        self._session.send(wire.Log(self._rid, *line))
