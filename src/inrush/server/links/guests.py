"""Sessions of the SDK inside containers. They ride the agent's link, which vouches for the container; there is no
token.

User code has the right `call` in its environment, and no other; with `restrict_access` it has none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from inrush import wire
from inrush.errors import PermissionDeniedError
from inrush.server.fleet.containers import Container, Containers
from inrush.server.links.sessions import Session, Sessions
from inrush.server.trust.principal import in_container
from inrush.server.writes import Writes

log = logging.getLogger(__name__)


class GuestLink:
    """The way to the SDK in one container."""

    trusted = True

    def __init__(self, container: str, to_container: Callable[[str, Any], None], writes: Writes) -> None:
        self._container, self._to_container, self._writes = container, to_container, writes
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
        self._by_container: dict[str, Session] = {}

    def frame(self, message: wire.FromGuestLink) -> None:
        """A frame from a container."""
        container = self._containers.live(message.container)
        if container is None:
            return
        try:
            batch = wire.from_client_decoder.decode(message.frame)
        except msgspec.DecodeError as error:
            log.warning("container %s sent a frame that is none: %s", message.container, error)
            return
        session = self._session(container)
        rest = []
        for one in batch:
            if type(one) is not wire.Hello:
                rest.append(one)
            elif session.link is not None:
                self._sessions.hello(session.link, one, session)
        if container.function.spec.restrict_access:
            _refuse_all(session, rest)
        else:
            self._sessions.receive(session, rest)

    def _session(self, container: Container) -> Session:
        session = self._by_container.get(container.id)
        if session is None:
            function = container.function
            who = in_container(container.id, function.environment, function.app_name, function.spec.restrict_access)
            session = Session(container.id, who, function.environment, container.id, function.app)
            session.link = GuestLink(container.id, self._to_container, self._writes)
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
