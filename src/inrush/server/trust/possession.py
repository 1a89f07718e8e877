"""Which sources an environment has put: knowing the digest of another's is not having it.

Sources and build files are kept once, by their content. Whoever is bound to an environment may use those that somebody
of that environment has put since the server started, and puts the others again. The owner may use all.

Other blobs have random ids. One that the holder of a token for an environment puts has an id that proves it: random
bits, and behind them their HMAC for this environment.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Iterable

from inrush.errors import NotFoundError
from inrush.server.trust.principal import Principal

MAX_KNOWN_SOURCES = 100_000
"""Of one environment; the one used longest ago is forgotten, and is put again."""


class Possession:
    """By environment."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._put: dict[str, OrderedDict[str, None]] = {}

    def put(self, who: Principal, id: str) -> None:
        """Somebody has put this."""
        if who.environment and id.startswith("sha256-"):
            known = self._put.setdefault(who.environment, OrderedDict())
            known[id] = None
            known.move_to_end(id)
            if len(known) > MAX_KNOWN_SOURCES:
                known.popitem(last=False)

    def new_id(self, who: Principal) -> str:
        """Of a blob that the holder of a token for an environment puts; empty for the others."""
        if not who.environment or who.app:
            return ""
        chance = secrets.token_hex(16)
        return f"bl-{chance}{self._proof(who, chance)}"

    def _proof(self, who: Principal, chance: str) -> str:
        return hmac.new(self._key, f"{who.environment}/{chance}".encode(), hashlib.sha256).hexdigest()[:32]

    def has(self, who: Principal, id: str) -> bool:
        """Whether it is theirs to use. (What code in a container may read is known to its session.)"""
        if not who.environment:
            return True
        if id.startswith("bl-"):
            return hmac.compare_digest(id[35:].encode(), self._proof(who, id[3:35]).encode())
        return id in self._put.get(who.environment, ())

    def need(self, who: Principal, ids: Iterable[str]) -> None:
        """Raises `NotFoundError` for the first that is not."""
        for id in ids:
            if not self.has(who, id):
                raise NotFoundError(f"source {id} is not here; put it before it is used")

    def forget(self, environment: str) -> None:
        """The environment is gone."""
        self._put.pop(environment, None)
