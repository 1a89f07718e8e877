"""Sessions of the SDK inside containers. Their frames come over the agent's link, and the agent says from which
container, so they need no token.

User code has only the right `call`, in its own environment; with `restrict_access` it has none. Frames of a container
are untrusted: a frame has few messages, only messages that carry data may be large, the asks in flight are bounded per
app, and a container can read only blobs that it made or that its results refer to. A malformed frame ends its
container.
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
"""The most messages in one frame of a container; the SDK sends at most twelve."""
MAX_SMALL_BYTES = 256 * 1024
"""The longest message without data."""
MAX_ASKED_BYTES = 1024 * 1024 * 1024
"""The most bytes of asks in flight, with their answers, of all containers; one app may have half of that."""


class _LargeAsk(wire.Message, frozen=True, tag="Ask"):
    """The asks that carry data."""

    rid: int
    body: wire.PutBlob | wire.DictOp


_split = msgspec.msgpack.Decoder(Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MAX_MESSAGES)]).decode
_large: Callable[[msgspec.Raw], Any] = msgspec.msgpack.Decoder(wire.StartCall | wire.Inputs | _LargeAsk).decode


def decode(frame: bytes) -> list[Any]:
    """Decodes a frame of a container. Raises one of `wire.UNREADABLE` for a malformed frame."""
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
    """The session of one container. `payer` is its app, whose share of the server's memory it uses."""

    def __init__(self, container: Container, asked: Shares) -> None:
        function = container.function
        who = in_container(container.id, function.environment, function.app_name, function.spec.restrict_access)
        super().__init__(
            *(container.id, who, function.environment, container.id, function.app),
            payer=function.app_key,
            asked=asked,
        )


class GuestLink:
    """The link to the SDK in one container."""

    trusted = True

    def __init__(self, session: GuestSession, to_container: Callable[[str, Any], None], writes: Writes) -> None:
        self._session, self._to_container, self._writes = session, to_container, writes
        self._container = session.container
        self._out: list[Any] = []

    def send(self, message: Any) -> None:
        """Queues a message for the frame of this turn of the event loop."""
        if not self._out:
            self._writes.add(self._flush)
        self._out.append(message)

    def _flush(self) -> None:
        batch, self._out = self._out, []
        for frame in frames_of(batch):
            self._to_container(self._container, wire.ToGuestLink(self._container, frame))

    def congested(self) -> bool:
        """Always False, since the agent bounds what waits for a container."""
        return False

    async def room(self) -> None:
        """Returns at once."""

    def close(self) -> None:
        """Does nothing, since the socket is the agent's."""


class Guests:
    """The sessions of all containers, by container id."""

    def __init__(
        self, containers: Containers, sessions: Sessions, to_container: Callable[[str, Any], None], writes: Writes
    ) -> None:
        self._containers, self._sessions, self._to_container = containers, sessions, to_container
        self._writes = writes
        self._by_container: dict[str, GuestSession] = {}
        self._asked = Shares(MAX_ASKED_BYTES, "bytes of asks without an answer")

    def frame(self, message: wire.FromGuestLink) -> None:
        """Handles a frame from a container."""
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
        """Ends the session of a container that has ended, and forgets the calls that it made."""
        session = self._by_container.pop(container, None)
        if session is not None:
            self._sessions.ended(session)


def _refuse_all(session: Session, batch: list[Any]) -> None:
    code, why = (
        PermissionDeniedError.__name__,
        "this function was declared with restrict_access=True, so its code may not make calls",
    )
    for message in batch:
        if isinstance(message, wire.Ask):
            session.send(wire.Refused(message.rid, code, why))
        elif isinstance(message, (wire.StartCall, wire.AwaitCall)):
            session.send(wire.CallRefused(message.call, code, why))


def frames_of(batch: list[Any]) -> list[bytes]:
    """Encodes a batch as frames below the limit. A single message is never above it."""
    if not batch:
        return []
    frame = wire.encode(batch)
    if len(frame) <= wire.FRAME_LIMIT_BYTES or len(batch) == 1:
        return [frame]
    half = len(batch) // 2
    return frames_of(batch[:half]) + frames_of(batch[half:])
