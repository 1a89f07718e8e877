"""One session: a client, or the SDK in one container, and what it may read.

Those who are bound to an environment (containers, and holders of tokens for one environment) read blobs, and pass them
on as arguments, only where they have made them or a result for them refers to them. The id of a blob that the holder of
a token made says for which environment (`trust/possession.py`), so it can be passed on after a restart too.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from inrush import wire
from inrush.errors import PermissionDeniedError
from inrush.server.payloads.blobs import referred_ids
from inrush.server.trust.possession import Possession
from inrush.server.trust.principal import Principal

MAX_READABLE = 16_384
"""Blobs that one session may read; the right to the oldest is forgotten."""


class Link(Protocol):
    """A way to a client."""

    trusted: bool
    """Who can open it is the owner: no token is asked."""

    def send(self, message: Any) -> None: ...
    def congested(self) -> bool: ...
    async def room(self) -> None:
        """Returns when it is congested no more, or is gone."""

    def close(self) -> None: ...


class Session:
    """One client, or the SDK in one container (`container` is its id then)."""

    def __init__(self, client: str, principal: Principal, environment: str, container: str = "", app: str = "") -> None:
        self.client, self.container, self.app = client, container, app
        self.principal = principal
        self.may_call = principal.may("call")
        self.environment = environment
        """Where names are looked up that come without an environment."""
        self.expected = False
        """Nobody has said hello as this client since the server's start."""
        self.link: Link | None = None
        self.calls: set[str] = set()
        self.awaits: set[str] = set()
        self.follows: dict[int, Callable[[], None]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.asking: set[int] = set()
        """Asks in flight. One that is sent again over a new link is answered there, and not done twice."""
        self.expiry: asyncio.TimerHandle | None = None
        self.payer = ""
        """The app that pays for what a container has the server hold."""

    def claim(self, body: wire.Request) -> int:
        """Room for an ask until it is answered; what to give back then. Raises `ResourceExhaustedError`."""
        return 0

    def unclaim(self, size: int) -> None:
        """An ask is answered."""

    def made(self, blob: str) -> None:
        """It put a blob."""

    def check_read(self, blob: str) -> None:
        """Raises `PermissionDeniedError` unless it may read a blob; whoever is bound to no environment may read all."""

    def check_refer(self, payloads: tuple[bytes, ...]) -> None:
        """The same for blobs that are to be arguments."""

    def send(self, message: Any) -> None:
        """To the client, if it is there."""
        if self.link is not None:
            self.link.send(message)

    def congested(self) -> bool:
        """Whether its link has more to write than it should."""
        return self.link is None or self.link.congested()

    async def room(self) -> None:
        """Returns when it is not."""
        if self.link is not None:
            await self.link.room()

    def unfollow(self, rid: int) -> None:
        """Ends what `rid` follows."""
        end = self.follows.pop(rid, None)
        if end is not None:
            end()

    def unfollow_all(self) -> None:
        """The link is gone: nobody reads."""
        for rid in list(self.follows):
            self.unfollow(rid)


class BoundSession(Session):
    """The session of somebody who is bound to an environment. `possession` knows which blobs its environment put; it is
    not given for containers, which read only what they made or were told of."""

    def __init__(
        self,
        client: str,
        principal: Principal,
        environment: str,
        container: str = "",
        app: str = "",
        possession: Possession | None = None,
    ) -> None:
        super().__init__(client, principal, environment, container, app)
        self._possession = possession
        self._readable: OrderedDict[str, None] = OrderedDict()

    def send(self, message: Any) -> None:
        """To the client, who may read what results refer to."""
        if isinstance(message, wire.Results | wire.Items):
            for blob in referred_ids(message.payloads):
                self.made(blob)
        super().send(message)

    def made(self, blob: str) -> None:
        """It put this blob, and may read it and pass it on."""
        self._readable[blob] = None
        if len(self._readable) > MAX_READABLE:
            self._readable.popitem(last=False)

    def check_read(self, blob: str) -> None:
        """Raises `PermissionDeniedError` unless it made the blob, or was told of it by a result for it."""
        known = blob in self._readable
        if not known and not (self._possession is not None and self._possession.has(self.principal, blob)):
            raise PermissionDeniedError(
                f"{self.principal.name} reads only payloads that it made, or that are results of its calls"
            )

    def check_refer(self, payloads: tuple[bytes, ...]) -> None:
        """The same for blobs that are to be arguments."""
        for blob in referred_ids(payloads):
            self.check_read(blob)
