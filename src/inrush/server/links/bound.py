"""Sessions of those who are bound to an environment: containers, and holders of tokens for one environment.

They read blobs, and pass them on as arguments, only where they have made them or a result for them refers to them. The
id of a blob that the holder of a token made says for which environment (`trust/possession.py`), so it can be passed on
after a restart too.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from inrush import wire
from inrush.errors import PermissionDeniedError
from inrush.server.links.sessions import Session
from inrush.server.payloads.blobs import referred_ids
from inrush.server.trust.possession import Possession
from inrush.server.trust.principal import Principal

MAX_READABLE = 16_384
"""Blobs that one session may read; the right to the oldest is forgotten."""


class BoundSession(Session):
    """One of them. `possession` knows the blobs of its environment, where that tells anything."""

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
