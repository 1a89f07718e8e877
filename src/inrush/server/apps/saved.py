"""Rows of apps: each app, its latest versions, and the functions of the one that serves.

Specs contain the values of `env=`, so they are encrypted like secrets.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from inrush import wire
from inrush.errors import NotFoundError
from inrush.server.apps.functions import Function, from_row
from inrush.server.apps.versions import App, Plan
from inrush.server.rows import tables
from inrush.server.rows.store import Store
from inrush.server.secrets.key import HomeKey

KEPT_VERSIONS = 20
_ENCRYPTED = b"\0"  # the msgpack of a struct never begins with this byte

_encode = msgspec.msgpack.Encoder().encode
_decode_spec = msgspec.msgpack.Decoder(wire.AppSpec).decode
_A, _F, _V = tables.apps.c, tables.functions.c, tables.versions.c


class Past(NamedTuple):
    """One deploy of an app."""

    number: int
    id: str
    created: float
    tag: str


class SavedApps:
    """The rows of all apps."""

    def __init__(self, store: Store, key: HomeKey) -> None:
        self._store, self._key = store, key
        self._upsert_function = store.insert_or_replace(tables.functions)
        self._upsert_app = store.insert_or_replace(tables.apps)

    async def put(self, app: App, spec: wire.AppSpec, version: str, number: int, plan: Plan) -> None:
        """Saves a version of an app, with the functions that it changes."""
        await self._store.transact(lambda connection: self._put(connection, app, spec, version, number, plan))

    def _put(
        self, connection: sa.Connection, app: App, spec: wire.AppSpec, version: str, number: int, plan: Plan
    ) -> None:
        row = {
            "id": app.id,
            "name": spec.name,
            "version": version,
            "deployed": app.deployed,
            "detached": app.detached,
            "client": app.client,
            "created": app.created,
            "tags": _encode(spec.tags),
            "environment": spec.environment,
        }
        connection.execute(self._upsert_app, row)
        values = {
            "id": version,
            "app": app.id,
            "number": number,
            "created": time.time(),
            "spec": self._encrypted(version, _encode(spec)),
        }
        connection.execute(sa.insert(tables.versions), values)
        connection.execute(sa.delete(tables.versions).where(_V.app == app.id, _V.number <= number - KEPT_VERSIONS))
        if plan.added:
            connection.execute(self._upsert_function, [self._row(function) for function in plan.added])
        for old, new in plan.replaced:
            connection.execute(sa.update(tables.functions).where(_F.id == old.id).values(successor=new.id))
        if plan.removed:
            connection.execute(sa.delete(tables.functions).where(_F.id.in_([function.id for function in plan.removed])))

    def put_variant(self, variant: Function) -> None:
        """Saves a variant of a class, without waiting for it."""
        self._store.execute(self._upsert_function, [self._row(variant)])

    def _row(self, function: Function) -> dict[str, Any]:
        row = function.row()
        return {**row, "spec": self._encrypted(function.id, row["spec"])}

    async def remove(self, app: App) -> None:
        """Deletes all rows of an app."""

        def remove(connection: sa.Connection) -> None:
            connection.execute(sa.delete(tables.functions).where(_F.app == app.id))
            connection.execute(sa.delete(tables.versions).where(_V.app == app.id))
            connection.execute(sa.delete(tables.apps).where(_A.id == app.id))

        await self._store.transact(remove)

    # ── earlier versions ─────────────────────────────────────────────────────────────────────────────────────────────

    async def history(self, app: App) -> list[Past]:
        """The versions of an app that are kept, the latest first."""
        query = sa.select(_V.number, _V.id, _V.created, _V.spec).where(_V.app == app.id).order_by(_V.number.desc())
        rows = await self._store.read(lambda connection: connection.execute(query).all())
        return [Past(row.number, row.id, row.created, self._spec(row.id, row.spec).tag) for row in rows]

    async def spec(self, app: App, number: int) -> wire.AppSpec:
        """What a kept version of an app was made of. Raises `NotFoundError`."""
        query = sa.select(_V.id, _V.spec).where(_V.app == app.id, _V.number == number)
        row = await self._store.read(lambda connection: connection.execute(query).first())
        if row is None:
            raise NotFoundError(f"app {app.name!r} has no version {number}; `inrush app history {app.name}` lists them")
        return self._spec(row.id, row.spec)

    def _spec(self, version: str, sealed: bytes) -> wire.AppSpec:
        return _decode_spec(self._decrypted(version, sealed))

    # ── restart ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def apps(self) -> Iterator[tuple[App, dict[int, wire.AppSpec]]]:
        """Every app, with the specs of its versions by number."""
        specs: dict[str, dict[int, tuple[str, wire.AppSpec]]] = {}
        for row in self._read(sa.select(tables.versions)):
            specs.setdefault(row.app, {})[row.number] = (row.id, self._spec(row.id, row.spec))
        for row in self._read(sa.select(tables.apps)):
            versions = specs.get(row.id, {})
            number = next(number for number, (id, _) in versions.items() if id == row.version)
            app = App(
                row.id,
                versions[number][1],
                deployed=row.deployed,
                detached=row.detached,
                client=row.client,
                created=row.created,
            )
            app.version, app.number = row.version, number
            yield app, {number: spec for number, (_, spec) in versions.items()}

    def functions(self, apps: dict[str, App]) -> Iterator[tuple[str, str, Function | None]]:
        """Every function as (id, successor, function), in the order in which they were made: None where another took
        its place, or its app is gone."""
        for row in self._read(sa.select(tables.functions).order_by(_F.created)):
            owner = apps.get(row.app)
            if row.successor or owner is None:
                yield row.id, row.successor, None
            else:
                spec = self._decrypted(row.id, row.spec)
                yield row.id, "", from_row(row, spec, owner.name, owner.deployed, owner.environment)

    def _read(self, query: sa.Select[Any]) -> Any:
        return self._store.read_now(lambda connection: connection.execute(query).all())

    def _encrypted(self, id: str, spec: bytes) -> bytes:
        return _ENCRYPTED + self._key.encrypt(f"spec of {id}", spec)

    def _decrypted(self, id: str, stored: bytes) -> bytes:
        """The spec of a version or a function. One that an earlier version of inrush has stored is in clear."""
        if stored[:1] != _ENCRYPTED:
            return stored
        return self._key.decrypt(f"spec of {id}", stored[1:])
