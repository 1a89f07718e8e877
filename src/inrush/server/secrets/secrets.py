"""Secrets: values encrypted with the home's key. No value is logged, and values leave the server only in the
environment of the containers that may have them.

The id of an anonymous secret is derived from its environment and content, so that a redeploy with the same values
changes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets as random
import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from inrush.errors import AlreadyExistsError, InvalidError, NotFoundError, ResourceExhaustedError
from inrush.server.rows import tables
from inrush.server.rows.store import Store
from inrush.server.secrets.key import HomeKey
from inrush.wire import MAIN

log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024
"""The most bytes of all keys and values of one secret."""
MAX_SECRETS = 10_000
"""The most secrets of one environment, with those that have no name."""
SHOWN_NAMES = 20
"""The most names of secrets that the log tells of when their key is lost."""

_Values = tuple[tuple[str, str], ...]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Values).decode
_decode_keys = msgspec.msgpack.Decoder(tuple[str, ...]).decode


class Secret:
    """A secret with its encrypted values."""

    __slots__ = ("created", "environment", "id", "keys", "name", "sealed", "updated")

    def __init__(
        self,
        id: str,
        environment: str,
        name: str,
        keys: tuple[str, ...],
        sealed: bytes,
        created: float,
        updated: float,
    ) -> None:
        self.id, self.environment, self.name, self.keys, self.sealed = id, environment, name, keys, sealed
        self.created, self.updated = created, updated

    def describe(self) -> dict[str, Any]:
        """The secret as the API shows it, without values."""
        return {
            "id": self.id,
            "environment": self.environment,
            "name": self.name,
            "keys": list(self.keys),
            "created": self.created,
            "updated": self.updated,
        }


class Secrets:
    """All secrets, encrypted in memory and in the store."""

    def __init__(self, key: HomeKey, store: Store) -> None:
        self._key, self._store = key, store
        self._upsert = store.insert_or_replace(tables.secrets)
        self._by_id: dict[str, Secret] = {}
        for row in store.read_now(lambda connection: connection.execute(sa.select(tables.secrets)).all()):
            keys = _decode_keys(row.keys)
            secret = Secret(row.id, row.environment, row.name, keys, row.sealed, row.created, row.updated)
            self._by_id[row.id] = secret
        self._tell_unreadable()

    def _tell_unreadable(self) -> None:
        """Says which secrets are lost because the key that encrypted them is: all of them, or none, so one is tried."""
        one = next(iter(self._by_id.values()), None)
        if one is None or self._is_readable(one):
            return
        names = sorted(secret.name for secret in self._by_id.values() if secret.name)
        log.error(
            "%s is not the key that encrypted the secrets of this server (it was lost and made anew, or replaced): "
            "restore it from a backup, or create them again with `inrush secret create --force`: %s%s",
            self._key.path,
            ", ".join(names[:SHOWN_NAMES]) or "those that programs made without a name, by deploying again",
            f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else "",
        )

    def _is_readable(self, secret: Secret) -> bool:
        try:
            self._open(secret)
        except InvalidError:
            return False
        return True

    async def put(self, values: _Values, environment: str, name: str = "", overwrite: bool = True) -> str:
        """Creates a secret, or replaces its values. Returns its id. Raises `AlreadyExistsError` without `overwrite`,
        `InvalidError` for values that variables cannot have, and `ResourceExhaustedError`."""
        _check(values)
        old = self._named(name, environment) if name else None
        if old is not None and not overwrite:
            raise AlreadyExistsError(
                f"there is a secret {name!r} already; `inrush secret create --force` replaces its values"
            )
        now = time.time()
        id = old.id if old is not None else self._new_id(values, environment, name)
        if id not in self._by_id and sum(s.environment == environment for s in self._by_id.values()) >= MAX_SECRETS:
            raise ResourceExhaustedError(f"environment {environment!r} has {MAX_SECRETS} secrets; delete some first")
        keys = tuple(sorted(key for key, _ in values))
        created = old.created if old is not None else now
        secret = Secret(id, environment, name, keys, self._key.encrypt(id, _encode(values)), created, now)
        row = secret.describe() | {"keys": _encode(keys), "sealed": secret.sealed}
        await self._store.transact(lambda connection: connection.execute(self._upsert, [row]))
        self._by_id[id] = secret
        return id

    def find(self, name: str, environment: str, required: tuple[str, ...] = ()) -> str:
        """Returns the id of a named secret, which must have the keys `required`. Raises `NotFoundError`."""
        secret = self._named(name, environment)
        if secret is None:
            raise NotFoundError(f"there is no secret {name!r}; `inrush secret create {name} KEY=VALUE` makes one")
        missing = [key for key in required if key not in secret.keys]
        if missing:
            raise NotFoundError(f"secret {name!r} has no key {missing[0]!r}; it has {', '.join(secret.keys) or 'none'}")
        return secret.id

    async def delete(self, name: str, environment: str) -> None:
        """Removes a named secret. Raises `NotFoundError`."""
        await self.discard([self.find(name, environment)])

    async def delete_all(self, environment: str) -> None:
        """Removes all secrets of an environment."""
        await self.discard([secret.id for secret in self._by_id.values() if secret.environment == environment])

    async def discard(self, ids: Iterable[str]) -> None:
        """Removes secrets by id; unknown ids are ignored."""
        gone = [id for id in ids if self._by_id.pop(id, None) is not None]
        if gone:
            statement = sa.delete(tables.secrets).where(tables.secrets.c.id.in_(gone))
            await self._store.transact(lambda connection: connection.execute(statement))

    def named(self, environment: str) -> list[dict[str, Any]]:
        """The named secrets of an environment, without values."""
        mine = [s for s in self._by_id.values() if s.name and s.environment == environment]
        return [s.describe() for s in sorted(mine, key=lambda s: s.name)]

    def anonymous(self, ids: Iterable[str]) -> list[str]:
        """The ids among `ids` whose secrets have no name."""
        return [id for id in ids if id in self._by_id and not self._by_id[id].name]

    def values(self, ids: Iterable[str], environment: str) -> dict[str, str]:
        """The variables of several secrets of an environment; a later one overrides an earlier one. Raises
        `NotFoundError`."""
        merged: dict[str, str] = {}
        for id in ids:
            secret = self._by_id.get(id)
            if secret is None or secret.environment != environment:
                raise NotFoundError(
                    f"secret {id} is not in the environment {environment!r}: it was deleted after the function was "
                    "deployed, or is another environment's"
                )
            merged.update(_decode(self._open(secret)))
        return merged

    def mark(self, environment: str, values: Mapping[str, str]) -> str:
        """An HMAC of these values, under a key that is derived from the home's for each environment."""
        key = self._key.derived(f"image steps of {environment}")
        return hmac.new(key, _encode(sorted(values.items())), hashlib.sha256).hexdigest()

    def _named(self, name: str, environment: str) -> Secret | None:
        key = (name, environment)
        return next((s for s in self._by_id.values() if (s.name, s.environment) == key), None)

    def _new_id(self, values: _Values, environment: str, name: str) -> str:
        if name:
            return f"se-{random.token_hex(16)}"
        content = _encode(sorted(values) if environment == MAIN else [environment, sorted(values)])
        return f"se-{self._key.digest(content).hex()[:32]}"

    def _open(self, secret: Secret) -> bytes:
        try:
            return self._key.decrypt(secret.id, secret.sealed, f"secret {secret.name or secret.id}")
        except InvalidError as error:
            raise InvalidError(f"{error}, or create the secret again") from None


def _check(values: _Values) -> None:
    for key, value in values:
        if not key or "=" in key or "\0" in key or "\0" in value:
            raise InvalidError(f"{key!r} is not a name for an environment variable, or its value contains a NUL")
    if sum(len(key) + len(value) for key, value in values) > MAX_BYTES:
        raise InvalidError(
            f"the values of a secret may have {MAX_BYTES >> 10} KiB at most; put larger data into the image or a Dict"
        )
