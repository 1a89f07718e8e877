"""Environments: the trust domains of user code. `main` is always there; others are made, and go, by hand.

An environment's name is part of URLs and of keys on nodes, so it is made of lower-case letters, digits and single
dashes. A name may be given again; nodes know each environment by a key of its own, so that what one left there (layers,
ranges of user ids, templates) is nothing for the next of its name.
"""

from __future__ import annotations

import re
import secrets
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
        self._marks: dict[str, str] = {}
        for row in store.read_now(lambda connection: connection.execute(sa.select(tables.environments)).all()):
            self._created[row.name], self._marks[row.name] = row.created, row.mark

    def __contains__(self, name: str) -> bool:
        return name in self._created

    def all(self) -> list[tuple[str, float]]:
        """Names, and when each was made (0: always there)."""
        return sorted(self._created.items())

    def key(self, name: str) -> str:
        """What nodes know it by: `name.mark`."""
        mark = self._marks.get(name, "")
        return f"{name}.{mark}" if mark else name

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
        if name in self._created or name in self._marks:
            raise AlreadyExistsError(f"there is an environment {name!r} already")
        if len(self._created) >= MAX_ENVIRONMENTS:
            raise ResourceExhaustedError(f"there are {MAX_ENVIRONMENTS} environments; delete one first")
        row: dict[str, Any] = {"name": name, "created": time.time(), "mark": secrets.token_hex(16)}
        self._created[name], self._marks[name] = row["created"], row["mark"]
        try:
            await self._store.transact(lambda connection: connection.execute(sa.insert(tables.environments), row))
        except BaseException:
            del self._created[name], self._marks[name]
            raise

    def close(self, name: str) -> None:
        """Nobody finds it from now on. Whoever asks empties it, and then forgets it."""
        del self._created[name]

    async def forget(self, name: str) -> None:
        """Removes its row and those of its calls."""

        def remove(connection: sa.Connection) -> None:
            calls = sa.select(tables.calls.c.id).where(tables.calls.c.environment == name)
            for table in (tables.call_inputs, tables.results):
                connection.execute(sa.delete(table).where(table.c.call.in_(calls)))
            connection.execute(sa.delete(tables.calls).where(tables.calls.c.environment == name))
            connection.execute(sa.delete(tables.environments).where(tables.environments.c.name == name))

        await self._store.transact(remove)

    def release(self, name: str) -> None:
        """Its name is free from now on."""
        self._marks.pop(name, None)


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
