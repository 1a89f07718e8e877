"""One session: of a client, or of the SDK in one container, and which blobs it may read.

A session that is bound to an environment (of a container, or of a token for one environment) may read a blob, or pass
it as an argument, only if it made the blob or a result for it refers to it. The id of a blob that a token's holder made
proves its environment (`trust/possession.py`), so that it can be used after a restart too.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Protocol

from inrush import wire
from inrush.core.model.ranges import Ranges
from inrush.errors import InvalidError, PermissionDeniedError, ResourceExhaustedError
from inrush.server.payloads.blobs import referred_ids
from inrush.server.shares import Shares
from inrush.server.trust.possession import Possession
from inrush.server.trust.principal import Principal

MAX_READABLE = 16_384
"""The most blobs that one session may read; the oldest is forgotten."""
MAX_READ_BYTES = 32 * 1024 * 1024
"""The most bytes of a blob that one answer brings."""
SMALL_ASK_BYTES = 1024
"""What an ask costs beside the data that it carries or fetches."""
MAX_FOLLOWS = 256
"""The most logs, and states of apps, that one client follows at once."""


class Link(Protocol):
    """A connection to a client."""

    trusted: bool
    """Whether everybody who can open the link is the owner, so that no token is needed."""

    def send(self, message: Any) -> None: ...
    def congested(self) -> bool: ...
    async def room(self) -> None:
        """Waits until the link is not congested any more, or is gone."""

    def close(self) -> None: ...


class Session:
    """The session of one client, or of the SDK in one container (`container` is its id)."""

    def __init__(self, client: str, principal: Principal, environment: str, container: str = "", app: str = "") -> None:
        self.client, self.container, self.app = client, container, app
        self.principal = principal
        self.may_call = principal.may("call")
        self.environment = environment
        """The environment in which names are looked up that come without one."""
        self.expected = False
        """Whether this client is known from before a restart, and has not connected since."""
        self.link: Link | None = None
        self.calls: set[str] = set()
        self.awaits: set[str] = set()
        self.follows: dict[int, Callable[[], None]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.later: deque[tuple[wire.AwaitCall, Ranges]] = deque()
        """Waits whose saved results are read when fewer requests are in flight."""
        self.asking: set[int] = set()
        """The `rid`s of asks in flight. An ask that is sent again over a new link is answered there, and not done
        twice."""
        self.expiry: asyncio.TimerHandle | None = None
        self.payer = ""
        """The app whose share of the server's memory a container uses; empty for clients outside."""

    def claim(self, body: wire.Request) -> int:
        """Reserves memory for an ask until it is answered, and returns how much. Raises `ResourceExhaustedError`."""
        return 0

    def unclaim(self, size: int) -> None:
        """Frees the memory of an ask that has been answered."""

    def made(self, blob: str) -> None:
        """Notes that it has put a blob."""

    def check_read(self, blob: str) -> None:
        """Raises `PermissionDeniedError` if it may not read a blob. A session that is bound to no environment may read
        all."""

    def check_refer(self, payloads: tuple[bytes, ...]) -> None:
        """Raises `PermissionDeniedError` if it may not read a blob that these arguments refer to."""

    def send(self, message: Any) -> None:
        """Sends a message to the client, if it is connected."""
        if self.link is not None:
            self.link.send(message)

    def congested(self) -> bool:
        """Whether its link has more to write than it should; True without a link."""
        return self.link is None or self.link.congested()

    async def room(self) -> None:
        """Waits until it is not congested any more."""
        if self.link is not None:
            await self.link.room()

    def check_follow(self, rid: int) -> None:
        """Whether it may follow one thing more, as `rid`. Raises `InvalidError`, `ResourceExhaustedError`."""
        if rid in self.follows:
            raise InvalidError("this request follows something already; use another rid")
        if len(self.follows) >= MAX_FOLLOWS:
            raise ResourceExhaustedError(f"a client follows {MAX_FOLLOWS} things at once; end some first")

    def unfollow(self, rid: int) -> None:
        """Ends what the ask `rid` follows."""
        end = self.follows.pop(rid, None)
        if end is not None:
            end()

    def unfollow_all(self) -> None:
        """Ends everything that it follows, since its link is gone."""
        for rid in list(self.follows):
            self.unfollow(rid)


class BoundSession(Session):
    """A session that is bound to an environment. `possession` knows which blobs the environment has put. Containers
    have none, since they may read only what they made or what their results refer to."""

    def __init__(
        self,
        client: str,
        principal: Principal,
        environment: str,
        container: str = "",
        app: str = "",
        possession: Possession | None = None,
        *,
        payer: str,
        asked: Shares,
    ) -> None:
        super().__init__(client, principal, environment, container, app)
        self._possession = possession
        self.payer, self._asked = payer, asked
        self._readable: OrderedDict[str, None] = OrderedDict()

    def send(self, message: Any) -> None:
        """Sends a message to the client, which may then read the blobs of results."""
        if isinstance(message, wire.Results | wire.Items):
            for blob in referred_ids(message.payloads):
                self.made(blob)
        super().send(message)

    def claim(self, body: wire.Request) -> int:
        """Reserves memory for an ask until it is answered, and returns how much. Raises `ResourceExhaustedError`."""
        size = SMALL_ASK_BYTES
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

    def made(self, blob: str) -> None:
        """Notes that it may read this blob."""
        self._readable[blob] = None
        if len(self._readable) > MAX_READABLE:
            self._readable.popitem(last=False)

    def check_read(self, blob: str) -> None:
        """Raises `PermissionDeniedError` unless it made the blob, or a result for it refers to the blob."""
        known = blob in self._readable
        if not known and not (self._possession is not None and self._possession.has(self.principal, blob)):
            raise PermissionDeniedError(
                f"{self.principal.name} may read only payloads that it made, or that are results of its calls"
            )

    def check_refer(self, payloads: tuple[bytes, ...]) -> None:
        """The same for blobs that are to be arguments."""
        for blob in referred_ids(payloads):
            self.check_read(blob)
