"""Sessions of the SDK inside containers. They ride the agent's link, which vouches for the container; there is no
token.

User code has the right `call` in its environment, and no other; with `restrict_access` it has none. What comes from a
container is hostile until shown otherwise: a frame holds few messages, only kinds that carry data are large, what waits
for answers is bounded for each app, and a container reads only blobs that it made or that results for it refer to. A
frame that is none ends its container.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from inrush import wire
from inrush.errors import PermissionDeniedError
from inrush.server.fleet.containers import Container, Containers
from inrush.server.links.session import BoundSession, Session
from inrush.server.links.sessions import Sessions
from inrush.server.shares import Shares
from inrush.server.trust.principal import in_container
from inrush.server.writes import Writes

log = logging.getLogger(__name__)

MAX_MESSAGES = 16
"""Messages in one frame of a container; the SDK sends twelve."""
MAX_SMALL_BYTES = 256 * 1024
"""In a longer frame only messages that carry data may be longer than this."""
MAX_ASKED_BYTES = 1024 * 1024 * 1024
"""Asks of all containers whose answers are on their way; those of one app may be half."""
MAX_READ_BYTES = 32 * 1024 * 1024
"""Of a blob, in one answer."""
_SMALL_ASK_BYTES = 1024


class _LargeAsk(wire.Message, frozen=True, tag="Ask"):
    """The asks that carry data."""

    rid: int
    body: wire.PutBlob | wire.DictOp


_split = msgspec.msgpack.Decoder(Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_MESSAGES)]).decode
_large: Callable[[msgspec.Raw], Any] = msgspec.msgpack.Decoder(wire.StartCall | wire.Inputs | _LargeAsk).decode


def decode(frame: bytes) -> list[Any]:
    """A frame of a container. Raises one of `wire.UNREADABLE` for what is none."""
    if len(frame) <= MAX_SMALL_BYTES:
        batch: list[Any] = wire.from_client_decoder.decode(frame)
    else:
        batch = [_message(raw) for raw in _split(frame)]
    if len(batch) > MAX_MESSAGES:
        raise msgspec.ValidationError(f"more than {MAX_MESSAGES} messages in a frame")
    return batch


def _message(raw: msgspec.Raw) -> Any:
    if len(memoryview(raw)) <= MAX_SMALL_BYTES:
        (message,) = wire.from_client_decoder.decode(b"\x91" + bytes(raw))
        return message
    message = _large(raw)
    return wire.Ask(message.rid, message.body) if isinstance(message, _LargeAsk) else message


class GuestSession(BoundSession):
    """That of one container. `payer` is its app, which pays for what it has the server hold."""

    def __init__(self, container: Container, asked: Shares) -> None:
        function = container.function
        who = in_container(container.id, function.environment, function.app_name, function.spec.restrict_access)
        super().__init__(container.id, who, function.environment, container.id, function.app)
        self.payer = function.app_key
        self._asked = asked

    def claim(self, body: wire.Request) -> int:
        """Room for an ask until it is answered. Raises `ResourceExhaustedError`."""
        size = _SMALL_ASK_BYTES
        if isinstance(body, wire.PutBlob):
            size += len(body.data)
        elif isinstance(body, wire.DictOp):
            size += sum(map(len, body.keys)) + sum(len(key) + len(value) for key, value in body.pairs)
        elif isinstance(body, wire.GetBlob):
            size += min(body.limit, MAX_READ_BYTES)
        self._asked.take(self.payer, size)
        return size

    def unclaim(self, size: int) -> None:
        self._asked.give(self.payer, size)


class GuestLink:
    """The way to the SDK in one container."""

    trusted = True

    def __init__(self, session: GuestSession, to_container: Callable[[str, Any], None], writes: Writes) -> None:
        self._session, self._to_container, self._writes = session, to_container, writes
        self._container = session.container
        self._out: list[Any] = []

    def send(self, message: Any) -> None:
        """Queues for this turn's frame."""
        if not self._out:
            self._writes.add(self._flush)
        self._out.append(message)

    def _flush(self) -> None:
        batch, self._out = self._out, []
        for frame in frames_of(batch):
            self._to_container(self._container, wire.ToGuestLink(self._container, frame))

    def congested(self) -> bool:
        """Never: the agent bounds what waits for a container."""
        return False

    async def room(self) -> None:
        """At once."""

    def close(self) -> None:
        """Nothing to close; the socket is the agent's."""


class Guests:
    """All of them, by container."""

    def __init__(
        self, containers: Containers, sessions: Sessions, to_container: Callable[[str, Any], None], writes: Writes
    ) -> None:
        self._containers, self._sessions, self._to_container = containers, sessions, to_container
        self._writes = writes
        self._by_container: dict[str, GuestSession] = {}
        self._asked = Shares(MAX_ASKED_BYTES, "asks that wait for their answers")

    def frame(self, message: wire.FromGuestLink) -> None:
        """A frame from a container."""
        container = self._containers.live(message.container)
        if container is None:
            return
        try:
            batch = decode(message.frame)
        except wire.UNREADABLE as error:
            why = f"its code broke the protocol of the SDK: {error}"
            self._to_container(container.id, wire.StopContainer(container.id, 0.0, kill=True, broke=why))
            return
        session = self._session(container)
        rest = [one for one in batch if not self._greets(session, one)]
        if container.function.spec.restrict_access:
            _refuse_all(session, rest)
        else:
            self._sessions.receive(session, rest)

    def _greets(self, session: GuestSession, message: Any) -> bool:
        if type(message) is not wire.Hello:
            return False
        if session.link is not None:
            self._sessions.hello(session.link, message, session)
        return True

    def _session(self, container: Container) -> GuestSession:
        session = self._by_container.get(container.id)
        if session is None:
            session = GuestSession(container, self._asked)
            session.link = GuestLink(session, self._to_container, self._writes)
            self._by_container[container.id] = session
        return session

    def ended(self, container: str) -> None:
        """The container is gone, and with it who waits for the calls that it made."""
        session = self._by_container.pop(container, None)
        if session is not None:
            self._sessions.ended(session)


def _refuse_all(session: Session, batch: list[Any]) -> None:
    code, why = (
        PermissionDeniedError.__name__,
        "this function was declared with restrict_modal_access: no calls from inside",
    )
    for message in batch:
        if isinstance(message, wire.Ask):
            session.send(wire.Refused(message.rid, code, why))
        elif isinstance(message, (wire.StartCall, wire.AwaitCall)):
            session.send(wire.CallRefused(message.call, code, why))


def frames_of(batch: list[Any]) -> list[bytes]:
    """A batch as frames, each below the limit. A message is small by itself; only many of them are too long."""
    if not batch:
        return []
    frame = wire.encode(batch)
    if len(frame) <= wire.FRAME_LIMIT_BYTES or len(batch) == 1:
        return [frame]
    half = len(batch) // 2
    return frames_of(batch[:half]) + frames_of(batch[half:])
