"""Tokens: each has a name, rights, an environment (or all) and an expiry. Only their hashes are stored.

A token is `it-<id>-<secret>`. The secret has 256 random bits, so a plain hash protects it as well as a slow one would.
The owner's token is separate from these, in the file `token` of the home.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from inrush.errors import AlreadyExistsError, AuthError, InvalidError, NotFoundError, ResourceExhaustedError
from inrush.server.rows import tables
from inrush.server.rows.store import Store
from inrush.server.trust.audit import NOBODY, Audit
from inrush.server.trust.principal import OWNER, RIGHTS, Principal

MAX_TOKENS = 1000
MAX_TOKEN_NAME_CHARACTERS = 100
MAX_TOKEN_S = 10 * 366 * 86400
_decode = msgspec.msgpack.Decoder(tuple[str, ...]).decode
_encode = msgspec.msgpack.Encoder().encode


class Token(NamedTuple):
    """A token without its secret; its holder is `principal`."""

    id: str
    hash: bytes
    principal: Principal
    created: float

    def describe(self) -> dict[str, Any]:
        """The token as the API shows it. Nothing in it can be used as the token."""
        who = self.principal
        rights = [right for right in RIGHTS if right in who.rights]
        return {
            "id": self.id,
            "name": who.name,
            "environment": who.environment,
            "rights": rights,
            "created": self.created,
            "expires": who.expires,
        }


class Tokens:
    """All tokens. The functions `ended` are called with the id of each token that is revoked or has expired."""

    def __init__(self, store: Store, owner: str, audit: Audit) -> None:
        self._store, self._audit = store, audit
        self._owner = _hash(owner)
        self._by_id: dict[str, Token] = {}
        self.ended: list[Callable[[str], None]] = []
        for row in store.read_now(lambda connection: connection.execute(sa.select(tables.tokens)).all()):
            who = Principal(row.id, row.name, frozenset(_decode(row.rights)), row.environment, "", row.expires)
            self._by_id[row.id] = Token(row.id, row.hash, who, row.created)

    def principal(self, token: str) -> Principal:
        """The principal of a token. Raises `AuthError` if the token is wrong or has expired."""
        if hmac.compare_digest(_hash(token), self._owner):
            return OWNER
        known = self._by_id.get(_id_of(token))
        if known is None or not hmac.compare_digest(_hash(token), known.hash):
            if token:
                self._audit.refused(NOBODY, "a wrong token", known.principal.name if known is not None else "")
            raise AuthError("the token is missing or wrong")
        if has_ended(known.principal):
            self._audit.refused(known.principal, "a token that has expired")
            raise AuthError(f"the token {known.principal.name!r} has expired")
        return known.principal

    def all(self) -> list[Token]:
        """All tokens, the oldest first."""
        return sorted(self._by_id.values(), key=lambda token: token.created)

    async def create(
        self, by: Principal, name: str, rights: tuple[str, ...], environment: str, lasts_s: float
    ) -> tuple[Token, str]:
        """Makes a token. Returns it, and its text, which is not stored. It expires after `lasts_s`, or never if that is
        0, and not after the token of `by`. Raises `PermissionDeniedError` if `by` does not reach the environment;
        `InvalidError`; `AlreadyExistsError`; `ResourceExhaustedError`."""
        _check(name, rights, lasts_s)
        if not by.reaches(environment):
            by.need("admin", "a token for all environments" if not environment else "that token", everywhere=True)
        if any(token.principal.name == name for token in self._by_id.values()):
            raise AlreadyExistsError(f"there is a token {name!r} already; `inrush token revoke {name}` ends it")
        if len(self._by_id) >= MAX_TOKENS:
            raise ResourceExhaustedError(f"there are {MAX_TOKENS} tokens; revoke some first")
        now = time.time()
        id, until = f"to-{secrets.token_hex(16)}", now + lasts_s if lasts_s else by.expires
        until = min(until, by.expires) if by.expires else until
        text = f"it-{id[3:]}-{secrets.token_urlsafe(32)}"
        who = Principal(id, name, frozenset(rights), environment, "", until)
        token = self._by_id[id] = Token(id, _hash(text), who, now)
        row = {**token.describe(), "rights": _encode(rights), "hash": token.hash}
        try:
            await self._store.transact(lambda connection: connection.execute(sa.insert(tables.tokens), row))
        except BaseException:
            del self._by_id[id]
            raise
        return token, text

    async def revoke(self, by: Principal, wanted: str) -> Token:
        """Revokes a token by its id or name, and ends what its holders do. Raises `NotFoundError`."""
        found = next((t for t in self._by_id.values() if wanted in (t.id, t.principal.name)), None)
        if found is None or not ((found.principal.environment and by.reaches(found.principal.environment))
                                 or not by.environment):  # fmt: skip
            raise NotFoundError(f"there is no token {wanted!r}; `inrush token list` shows those there are")
        await self._remove([found])
        return found

    def sweep(self) -> None:
        """Ends what holders of expired tokens still do."""
        for token in self._by_id.values():
            if has_ended(token.principal):
                self._tell(token.id)

    def _tell(self, id: str) -> None:
        for tell in self.ended:
            tell(id)

    async def revoke_all(self, environment: str) -> None:
        """Revokes all tokens of an environment."""
        await self._remove([token for token in self._by_id.values() if token.principal.environment == environment])

    async def _remove(self, gone: list[Token]) -> None:
        for token in gone:
            self._by_id.pop(token.id, None)
            self._tell(token.id)
        ids = [token.id for token in gone]
        statement = sa.delete(tables.tokens).where(tables.tokens.c.id.in_(ids))
        await self._store.transact(lambda connection: connection.execute(statement))


def has_ended(principal: Principal) -> bool:
    """Whether the token of a principal has expired."""
    return 0 < principal.expires <= time.time()


def _check(name: str, rights: tuple[str, ...], lasts_s: float) -> None:
    if not 0 < len(name) <= MAX_TOKEN_NAME_CHARACTERS or not name.isprintable():
        raise InvalidError(f"a token's name has 1 to {MAX_TOKEN_NAME_CHARACTERS} printable characters")
    unknown = [right for right in rights if right not in RIGHTS]
    if unknown or not rights:
        raise InvalidError(
            f"a token has one or more of the rights {', '.join(RIGHTS)}; not {', '.join(unknown) or 'none'}"
        )
    if not 0 <= lasts_s <= MAX_TOKEN_S:
        raise InvalidError(f"a token lasts {MAX_TOKEN_S / 86400:.0f} days at most; give a shorter --expires")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _id_of(token: str) -> str:
    prefix, _, rest = token.partition("-")
    return f"to-{rest.partition('-')[0]}" if prefix == "it" else ""
