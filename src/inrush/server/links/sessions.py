"""All sessions, and the handling of their messages. A program's session outlives its link; a container's lives as long
as the container.

A session receives batches of `FromClient` and sends `ToClient` messages, which its link writes once in each turn of the
event loop. Messages to a client without a link are dropped, and the client resumes its calls when it connects again. If
it does not do so in time, its calls are cancelled and its ephemeral apps end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from inrush import wire
from inrush.errors import (
    AuthError,
    ConnectionError,
    Error,
    InternalError,
    InvalidError,
    PermissionDeniedError,
    ResourceExhaustedError,
    VersionError,
)
from inrush.server.calls.durable import Durable
from inrush.server.calls.table import Calls
from inrush.server.links.session import Link, Session
from inrush.server.loop import Loop
from inrush.server.trust.audit import Audit
from inrush.server.trust.environments import Environments
from inrush.server.trust.principal import OWNER, Principal
from inrush.server.trust.tokens import Tokens, has_ended
from inrush.version import PYTHON, remedy

log = logging.getLogger(__name__)

GRACE_S = 10.0
"""How long the session of a client whose link broke is kept."""
RESTART_GRACE_S = 30.0
"""How long a restarted server waits for the clients that it knew before."""
MAX_ASKS = 1024
"""The most asks of one client in flight."""
MAX_AWAITS = 100_000
"""The most durable calls whose results one client waits for."""
MAX_CLIENTS = 10_000
MAX_CLIENT_CHARACTERS = 64
"""The longest id that a client may choose for itself."""


OF_CALLS = frozenset((
    wire.StartCall, wire.Inputs, wire.EndInputs, wire.ForgetCall, wire.ResumeCall, wire.CancelCall, wire.Grant,
    wire.AwaitCall, wire.Received,
))  # fmt: skip
"""Messages about calls, which need the right `call`."""


class Asker(Protocol):
    """Answers asks; `asks.Asks` implements it."""

    async def answer(self, session: Session, rid: int, body: wire.Request) -> Any: ...


class Sessions:
    """The sessions of all clients, and the handlers of their messages."""

    def __init__(
        self,
        calls: Calls,
        durable: Durable,
        asks: Asker,
        loop: Loop,
        expired: Callable[[str], Any],
        *,
        boot: str,
        tokens: Tokens,
        environments: Environments,
        audit: Audit,
        version: str,
        background: bool,
        make: Callable[[str, Principal, str], Session],
    ) -> None:
        self._calls, self._durable, self._asks, self._loop, self._expired = calls, durable, asks, loop, expired
        self.writes = loop.writes
        self._boot, self._version, self._in_background = boot, version, background
        self._tokens, self._environments, self._audit, self._make = tokens, environments, audit, make
        tokens.ended.append(self.cut_off)
        self._clients: dict[str, Session] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self.closing = ""
        self._takes: dict[type, Callable[[Session, Any], None]] = {
            wire.StartCall: self._start_call,
            wire.Inputs: self._inputs,
            wire.EndInputs: self._end_inputs,
            wire.ForgetCall: self._forget,
            wire.ResumeCall: calls.resume,
            wire.CancelCall: calls.cancel,
            wire.Grant: calls.grant,
            wire.Received: calls.received,
            wire.AwaitCall: self._await_call,
            wire.Ask: self._ask,
            wire.Unfollow: lambda session, message: session.unfollow(message.rid),
        }

    def __len__(self) -> int:
        return len(self._clients)

    def count(self, who: Principal) -> int:
        """The number of clients in environments that a principal reaches."""
        return sum(who.reaches(session.environment) for session in self._clients.values())

    # ── clients ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def hello(self, link: Link, hello: wire.Hello, known: Session | None = None) -> Session | None:
        """Opens the session of a client that has sent its `Hello`; that of a container is `known` already. Returns None
        if the client is rejected; its link has then been told why, and closed."""
        try:
            session = self._admit(link, hello, known)
        except Error as error:
            link.send(wire.Rejected(type(error).__name__, str(error)))
            link.close()
            return None
        if session.expiry is not None:
            session.expiry.cancel()
            session.expiry = None
        if session.link is not None and session.link is not link:
            session.unfollow_all()
            session.link.close()
        session.link = link
        session.send(wire.Welcome(self._boot, self._version, PYTHON, self._in_background))
        return session

    def _admit(self, link: Link, hello: wire.Hello, known: Session | None) -> Session:
        principal = OWNER if link.trusted else self._principal(hello.token)
        if hello.protocol != wire.PROTOCOL:
            raise VersionError(remedy(self._version, hello.version))
        if self.closing:
            raise ConnectionError(self.closing)
        return known or self._session(hello, principal)

    def _principal(self, token: str) -> Principal:
        try:
            return self._tokens.principal(token)
        except AuthError as error:
            raise AuthError(
                f"{error}; set INRUSH_TOKEN to one that `inrush token create` made, or to what the file `token` in the "
                "server's home holds"
            ) from None

    def _session(self, hello: wire.Hello, principal: Principal) -> Session:
        """The session of a client's id, made if it is new. Only the principal that made a session can use it again."""
        if not hello.client.startswith("cl-") or len(hello.client) > MAX_CLIENT_CHARACTERS:
            raise InvalidError(f"a client's id starts with cl- and has at most {MAX_CLIENT_CHARACTERS} characters")
        environment = self._environments.scope(principal, hello.environment).environment
        session = self._clients.get(hello.client)
        if session is None:
            if len(self._clients) >= MAX_CLIENTS:
                raise ResourceExhaustedError(f"{MAX_CLIENTS} clients are connected already; try again later")
            session = self._clients[hello.client] = self._make(hello.client, principal, environment)
        elif session.expected and principal.reaches(session.environment):
            if session.expiry is not None:
                session.expiry.cancel()
            session = self._clients[hello.client] = self._make(hello.client, principal, environment)
        elif session.principal.id != principal.id:
            raise PermissionDeniedError(f"the client id {hello.client} is in use by another token; choose a new one")
        session.environment = environment
        return session

    def lost(self, session: Session, link: Link) -> None:
        """Handles a broken link. The session is kept for `GRACE_S`."""
        if session.link is not link:
            return
        session.link = None
        session.unfollow_all()
        self._expire_in(session, GRACE_S)

    def cut_off(self, principal: str) -> None:
        """Ends all sessions of a token that was revoked or has expired, with what they own."""
        for session in [s for s in self._clients.values() if s.principal.id == principal]:
            if session.link is not None:
                session.link.send(wire.Rejected(AuthError.__name__, "the token was revoked, or has expired"))
                session.link.close()
            if session.expiry is not None:
                session.expiry.cancel()
            self._expire(session)

    def expect(self, client: str, environment: str) -> None:
        """Keeps a place for a client that ran an app of this environment before the server's restart."""
        if client and client not in self._clients:
            session = self._clients[client] = Session(client, OWNER, environment)
            session.expected = True
            self._expire_in(session, RESTART_GRACE_S)

    def _expire_in(self, session: Session, grace_s: float) -> None:
        session.expiry = asyncio.get_running_loop().call_later(grace_s, self._expire, session)

    def _expire(self, session: Session) -> None:
        self._clients.pop(session.client, None)
        self.ended(session)
        task = asyncio.ensure_future(self._expired(session.client))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def ended(self, session: Session) -> None:
        """Ends a session, and forgets its calls."""
        session.link = None
        session.unfollow_all()
        session.later.clear()
        self._calls.left(session)
        self._durable.left(session)
        for task in session.tasks:
            task.cancel()
        self._loop.turn()

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, session: Session, batch: list[Any]) -> None:
        """Handles a batch of a client's messages."""
        if session.principal.expires and has_ended(session.principal):
            self.cut_off(session.principal.id)
            return
        self._loop.hold()
        try:
            for message in batch:
                self._take(session, message)
        finally:
            self._loop.turn()

    def _take(self, session: Session, message: Any) -> None:
        take = self._takes.get(type(message))
        if take is None:
            return
        if not session.may_call and type(message) in OF_CALLS:
            self._audit.refused(session.principal, type(message).__name__)
            why = f"calling functions needs the right 'call', which {session.principal.name} does not have"
            session.send(wire.CallRefused(message.call, PermissionDeniedError.__name__, why))
            return
        take(session, message)

    def _start_call(self, session: Session, message: wire.StartCall) -> None:
        if not self._may_refer(session, message):
            return
        call = self._calls.start(session, message)
        if call is not None and call.durable:
            self._durable.accepted(session, call, message)

    def _may_refer(self, session: Session, message: wire.StartCall | wire.Inputs) -> bool:
        try:
            session.check_refer(message.payloads)
        except PermissionDeniedError as error:
            session.send(wire.CallRefused(message.call, type(error).__name__, str(error)))
            return False
        return True

    def _inputs(self, session: Session, message: wire.Inputs) -> None:
        if not self._may_refer(session, message):
            return
        fresh = self._calls.inputs(session, message.call, message.first, message.payloads)
        if fresh is not None and fresh.durable:
            self._durable.more(fresh, message.first, message.payloads)

    def _end_inputs(self, session: Session, message: wire.EndInputs) -> None:
        self._calls.end_inputs(session, message)
        ended = self._calls.get(message.call)
        if ended is not None and ended.durable and ended.owned_by(session.principal):
            self._durable.total_known(ended)

    def _await_call(self, session: Session, message: wire.AwaitCall) -> None:
        if len(session.awaits) + len(session.later) >= MAX_AWAITS:
            why = f"{MAX_AWAITS} calls are awaited already; wait for results of some"
            session.send(wire.CallRefused(message.call, ResourceExhaustedError.__name__, why))
        elif (wanted := self._durable.wait(session, message)) is not None:
            session.later.append((message, wanted))
            self._read_stored(session)

    def _read_stored(self, session: Session) -> None:
        """Has saved results read for some waits at once, which leave room for other requests; the rest follows."""
        while session.later and len(session.tasks) < MAX_ASKS // 2:
            self._run(session, self._durable.send_stored(session, *session.later.popleft()))

    def _forget(self, session: Session, message: wire.ForgetCall) -> None:
        call = self._calls.get(message.call)
        if call is None or call.durable:
            self._durable.unwait(session, message.call)
        elif call.owner is session:
            self._calls.forget(call)

    def _ask(self, session: Session, ask: wire.Ask) -> None:
        if len(session.tasks) >= MAX_ASKS:
            error = ResourceExhaustedError(
                f"{MAX_ASKS} requests of this client are in flight already; wait for answers"
            )
            session.send(wire.Refused(ask.rid, type(error).__name__, str(error)))
            return
        if ask.rid not in session.asking:
            try:
                claimed = session.claim(ask.body)
            except ResourceExhaustedError as error:
                session.send(wire.Refused(ask.rid, type(error).__name__, str(error)))
                return
            session.asking.add(ask.rid)
            self._run(session, self._answer(session, ask), claimed)

    def _run(self, session: Session, work: Any, claimed: int = 0) -> None:
        task = asyncio.ensure_future(work)
        session.tasks.add(task)
        task.add_done_callback(lambda _: self._ran(session, task))
        if claimed:
            task.add_done_callback(lambda _: session.unclaim(claimed))

    def _ran(self, session: Session, task: asyncio.Task[None]) -> None:
        session.tasks.discard(task)
        if session.later:
            self._read_stored(session)

    async def _answer(self, session: Session, ask: wire.Ask) -> None:
        try:
            result = await self._asks.answer(session, ask.rid, ask.body)
        except Error as error:
            session.send(wire.Refused(ask.rid, type(error).__name__, str(error)))
        except Exception:
            log.exception("a defect: %s failed", type(ask.body).__name__)
            kind = InternalError.__name__
            session.send(
                wire.Refused(ask.rid, kind, f"{type(ask.body).__name__} failed by a defect of inrush; see server.log")
            )
        else:
            session.send(wire.Answer(ask.rid, result))
        finally:
            session.asking.discard(ask.rid)
        self._loop.turn()

    async def close(self, why: str) -> None:
        """Closes all links, and rejects new clients with `why`, since the server ends."""
        self.closing = why
        for session in list(self._clients.values()):
            if session.expiry is not None:
                session.expiry.cancel()
            for task in session.tasks:
                task.cancel()
            if session.link is not None:
                session.link.close()
                session.link = None
