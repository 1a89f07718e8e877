"""Environments: the trust domains of user code. `main` always exists; people create and delete others.

An environment's name is part of URLs and of keys on nodes, so it consists of lower-case letters, digits and single
dashes. A name can be used again after its environment was deleted. Nodes know each environment by a key of its own, so
that the next one of the same name cannot use what the first left there (layers, ranges of user ids, templates).
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
"""Names that no environment may have: `xn--` begins host names in other scripts, and the others would mislead
people."""


class Environments:
    """All environments."""

    def __init__(self, store: Store, audit: Audit) -> None:
        self._store, self._audit = store, audit
        self._created = {MAIN: 0.0}
        self._marks: dict[str, str] = {}
        for row in store.read_now(lambda connection: connection.execute(sa.select(tables.environments)).all()):
            self._created[row.name], self._marks[row.name] = row.created, row.mark

    def __contains__(self, name: str) -> bool:
        return name in self._created

    def all(self) -> list[tuple[str, float]]:
        """The names, each with the time at which it was created; 0 for `main`."""
        return sorted(self._created.items())

    def key(self, name: str) -> str:
        """The key of an environment on nodes: `name.mark`, or `main`."""
        mark = self._marks.get(name, "")
        return f"{name}.{mark}" if mark else name

    def scope(self, principal: Principal, named: str = "", own: str = "") -> Scope:
        """The scope of a request: the environment that it names, else its session's, else its token's, else `main`.
        Raises `NotFoundError` for an environment that does not exist, or that the principal does not reach."""
        name = named or own or principal.environment or MAIN
        reaches = principal.reaches(name)
        if not reaches:
            self._audit.refused(principal, "another environment", name)
        if not reaches or name not in self._created:
            raise NotFoundError(f"there is no environment {name!r}; `inrush environment list` shows those there are")
        return Scope(principal, name)

    async def create(self, name: str) -> None:
        """Creates an environment. Raises `InvalidError`, `AlreadyExistsError` and `ResourceExhaustedError`."""
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
        """Begins to delete an environment: nobody finds it from now on. The caller then empties it, and calls `forget`
        and `release`."""
        del self._created[name]

    async def forget(self, name: str) -> None:
        """Removes the rows of an environment and of its calls."""

        def remove(connection: sa.Connection) -> None:
            calls = sa.select(tables.calls.c.id).where(tables.calls.c.environment == name)
            for table in (tables.call_inputs, tables.results):
                connection.execute(sa.delete(table).where(table.c.call.in_(calls)))
            connection.execute(sa.delete(tables.calls).where(tables.calls.c.environment == name))
            connection.execute(sa.delete(tables.environments).where(tables.environments.c.name == name))

        await self._store.transact(remove)

    def release(self, name: str) -> None:
        """Frees the name of a deleted environment."""
        self._marks.pop(name, None)


def check_deletable(name: str, environments: Environments) -> None:
    """Raises `InvalidError` for `main`, and `NotFoundError` for an environment that does not exist."""
    if name == MAIN:
        raise InvalidError("the environment 'main' cannot be deleted")
    if name not in environments:
        raise NotFoundError(f"there is no environment {name!r}; `inrush environment list` shows those there are")


def check_name(name: str) -> None:
    """Raises `InvalidError` for a name that an environment cannot have."""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARACTERS or name in _RESERVED:
        raise InvalidError(
            f"an environment's name has up to {MAX_NAME_CHARACTERS} lower-case letters, digits and single dashes, "
            f"and is none of {', '.join(_RESERVED)}; not {name[:80]!r}"
        )
