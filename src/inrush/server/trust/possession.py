"""Possession of blobs: an environment may use only sources that it has put itself, even if it knows the digest of
another one's.

Sources and build files are stored once, by their content. A principal that is bound to an environment may use those
that somebody of that environment has put since the server's start, and puts the others again. The owner may use all.

Other blobs have random ids. The id of a blob that the holder of a token for an environment puts proves that: it is
random bits, and an HMAC of them for the environment.
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
"""The most remembered sources of one environment; the least recently put one is forgotten, and has to be put again."""


class Possession:
    """The sources that each environment has put."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._put: dict[str, OrderedDict[str, None]] = {}

    def put(self, who: Principal, id: str) -> None:
        """Notes that a principal has put a blob."""
        if who.environment and id.startswith("sha256-"):
            known = self._put.setdefault(who.environment, OrderedDict())
            known[id] = None
            known.move_to_end(id)
            if len(known) > MAX_KNOWN_SOURCES:
                known.popitem(last=False)

    def new_id(self, who: Principal) -> str:
        """A new id for a blob of the holder of a token for an environment; empty for other principals."""
        if not who.environment or who.app:
            return ""
        chance = secrets.token_hex(16)
        return f"bl-{chance}{self._proof(who, chance)}"

    def _proof(self, who: Principal, chance: str) -> str:
        return hmac.new(self._key, f"{who.environment}/{chance}".encode(), hashlib.sha256).hexdigest()[:32]

    def has(self, who: Principal, id: str) -> bool:
        """Whether a principal may use a blob. (Which blobs code in a container may read is known to its session.)"""
        if not who.environment:
            return True
        if id.startswith("bl-"):
            return hmac.compare_digest(id[35:].encode(), self._proof(who, id[3:35]).encode())
        return id in self._put.get(who.environment, ())

    def need(self, who: Principal, ids: Iterable[str]) -> None:
        """Raises `NotFoundError` for the first blob that a principal may not use."""
        for id in ids:
            if not self.has(who, id):
                raise NotFoundError(f"source {id} is not on this server; put it before it is used")

    def forget(self, environment: str) -> None:
        """Forgets the sources of an environment."""
        self._put.pop(environment, None)
