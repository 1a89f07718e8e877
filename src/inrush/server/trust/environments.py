"""Environments: the trust domains of user code. `main` is always there; others are made, and go, by hand.

An environment's name is part of URLs and of keys on nodes, so it is made of lower-case letters, digits and single
dashes.
"""

from __future__ import annotations

import re
import time
from typing import Any

import sqlalchemy as sa

from inrush.errors import AlreadyExistsError, InvalidError, NotFoundError, ResourceExhaustedError
from inrush.server.rows import tables
from inrush.server.rows.store import Store
from inrush.server.trust.audit import Audit
from inrush.server.trust.principal import Principal, Scope
from inrush.wire import MAIN

MAX_ENVIRONMENTS = 200
MAX_NAME_CHARACTERS = 32
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_RESERVED = ("xn", "all", "owner", "inrush")
"""`xn--` begins names of hosts in other scripts; the others would be taken for what they say."""


class Environments:
    """All of them."""

    def __init__(self, store: Store, audit: Audit) -> None:
        self._store, self._audit = store, audit
        self._created = {MAIN: 0.0}
        for row in store.read_now(lambda connection: connection.execute(sa.select(tables.environments)).all()):
            self._created[row.name] = row.created

    def __contains__(self, name: str) -> bool:
        return name in self._created

    def all(self) -> list[tuple[str, float]]:
        """Names, and when each was made (0: always there)."""
        return sorted(self._created.items())

    def scope(self, principal: Principal, named: str = "", own: str = "") -> Scope:
        """Where a request looks that names an environment, or none. Raises `NotFoundError` for one that is not there,
        or not for this principal."""
        name = named or own or principal.environment or MAIN
        reaches = principal.reaches(name)
        if not reaches:
            self._audit.refused(principal, "another environment", name)
        if not reaches or name not in self._created:
            raise NotFoundError(f"there is no environment {name!r}; `inrush environment list` shows those there are")
        return Scope(principal, name)

    async def create(self, name: str) -> None:
        """Raises `InvalidError`, `AlreadyExistsError`."""
        check_name(name)
        if name in self._created:
            raise AlreadyExistsError(f"there is an environment {name!r} already")
        if len(self._created) >= MAX_ENVIRONMENTS:
            raise ResourceExhaustedError(f"there are {MAX_ENVIRONMENTS} environments; delete one first")
        row: dict[str, Any] = {"name": name, "created": time.time()}
        self._created[name] = row["created"]
        try:
            await self._store.transact(lambda connection: connection.execute(sa.insert(tables.environments), row))
        except BaseException:
            del self._created[name]
            raise

    async def delete(self, name: str) -> None:
        """Forgets it, with its calls; whoever asks has emptied it. Raises `NotFoundError`, `InvalidError`."""
        check_deletable(name, self)
        del self._created[name]

        def remove(connection: sa.Connection) -> None:
            calls = sa.select(tables.calls.c.id).where(tables.calls.c.environment == name)
            for table in (tables.call_inputs, tables.results):
                connection.execute(sa.delete(table).where(table.c.call.in_(calls)))
            connection.execute(sa.delete(tables.calls).where(tables.calls.c.environment == name))
            connection.execute(sa.delete(tables.environments).where(tables.environments.c.name == name))

        await self._store.transact(remove)


def check_deletable(name: str, environments: Environments) -> None:
    """Raises `InvalidError`, `NotFoundError`."""
    if name == MAIN:
        raise InvalidError("the environment 'main' cannot be deleted")
    if name not in environments:
        raise NotFoundError(f"there is no environment {name!r}; `inrush environment list` shows those there are")


def check_name(name: str) -> None:
    """Raises `InvalidError` for what cannot be an environment's name."""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARACTERS or name in _RESERVED:
        raise InvalidError(
            f"an environment's name has up to {MAX_NAME_CHARACTERS} lower-case letters, digits and single dashes, "
            f"and is none of {', '.join(_RESERVED)}; not {name[:80]!r}"
        )
