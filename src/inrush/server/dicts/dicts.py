"""Dicts: named, durable maps of opaque bytes. Writes happen in the order of their arrival, and are acknowledged after
their commit. The Dicts of one environment have a limit in bytes together."""

from __future__ import annotations

import secrets
import time
from typing import Any, NamedTuple

import sqlalchemy as sa

from inrush.errors import InvalidError, NotFoundError, RequestSizeError, ResourceExhaustedError
from inrush.server.rows import tables
from inrush.server.rows.quota import Quota
from inrush.server.rows.store import Store
from inrush.server.trust.principal import Principal
from inrush.wire import DictOp

MAX_KEY_BYTES = 256 * 1024
MAX_VALUE_BYTES = 32 * 1024 * 1024
MAX_DICTS = 10_000
"""The most Dicts of one environment."""
PAGE_BYTES = 4 * 1024 * 1024
PAGE_ITEMS = 1000
MAX_LOOKED_BYTES = 2 * 1024 * 1024
"""The most bytes of keys and values that one look reads."""

_items = tables.dict_items
_i = _items.c


class Looked(NamedTuple):
    """A key, the first bytes of its value, and how many it has."""

    key: bytes
    head: bytes
    size: int


class Dicts:
    """All Dicts, in the store."""

    def __init__(self, store: Store, limit_bytes: int) -> None:
        """`limit_bytes` is the most that all Dicts of one environment hold together."""
        self._store = store
        self._quota = Quota(store, limit_bytes, _bytes_of, "Dicts")
        self._replace = store.insert_or_replace(_items)
        # Of inserts, SQLAlchemy keeps the count of rows only when it is told to.
        self._ignore = store.insert_or_ignore(_items).execution_options(preserve_rowcount=True)

    async def open(self, name: str, environment: str, create: bool) -> str:
        """Returns the id of a named Dict, which is made if it is missing and `create` is set. Raises `NotFoundError`,
        and `ResourceExhaustedError` if the environment has `MAX_DICTS`."""
        d = tables.dicts.c
        query = sa.select(d.id).where(d.name == name, d.environment == environment)
        id: str | None = await self._store.read(lambda connection: connection.execute(query).scalar())
        if id is not None:
            return id
        if not create:
            raise NotFoundError(
                f"there is no Dict {name!r}; create_if_missing=True makes it, `inrush dict list` shows those there are"
            )
        if not 0 < len(name) <= 200 or not name.isprintable():
            raise InvalidError("a Dict's name has 1 to 200 printable characters")
        there = sa.select(sa.func.count()).where(d.environment == environment)
        if (await self._store.read(lambda connection: connection.execute(there).scalar()) or 0) >= MAX_DICTS:
            raise ResourceExhaustedError(f"environment {environment!r} has {MAX_DICTS} Dicts, its most; delete some")
        row = {"id": f"di-{secrets.token_hex(16)}", "environment": environment, "name": name, "created": time.time()}

        def make(connection: sa.Connection) -> str:
            found = connection.execute(query).scalar()
            if found is None:
                connection.execute(sa.insert(tables.dicts), row)
            return str(found or row["id"])

        return await self._store.transact(make)

    async def delete(self, name: str, environment: str) -> None:
        """Removes a Dict with its items. Raises `NotFoundError`."""
        id = await self.open(name, environment, create=False)

        def remove(connection: sa.Connection) -> None:
            connection.execute(sa.delete(_items).where(_i.dict == id))
            connection.execute(sa.delete(tables.dicts).where(tables.dicts.c.id == id))

        await self._store.transact(remove)

    async def delete_all(self, environment: str) -> None:
        """Removes all Dicts of an environment."""
        for told in await self.all(environment):
            await self.delete(told["name"], environment)

    async def all(self, environment: str) -> list[dict[str, Any]]:
        """The ids, names, numbers of items and creation times of the Dicts of an environment."""
        d = tables.dicts.c
        count = sa.select(sa.func.count()).where(_i.dict == d.id).scalar_subquery()
        query = (
            sa.select(d.id, d.name, d.created, count.label("items"))
            .where(d.environment == environment)
            .order_by(d.name)
        )
        rows = await self._store.read(lambda connection: connection.execute(query).all())
        return [dict(row._mapping) for row in rows]

    async def look(self, name: str, environment: str, limit: int, head_bytes: int, key: bytes | None) -> list[Looked]:
        """Reads up to `limit` keys of a Dict, or only `key`, each with the first bytes and the size of its value. It
        returns fewer if they have more than `MAX_LOOKED_BYTES`. Raises `NotFoundError`."""
        id = await self.open(name, environment, create=False)
        head, size = sa.func.substr(_i.value, 1, head_bytes), sa.func.length(_i.value)
        query = sa.select(_i.key, head, size).where(_i.dict == id).order_by(_i.key).limit(limit)
        if key is not None:
            query = query.where(_i.key == key)
        return await self._store.read(lambda connection: _looked(connection, query))

    async def operate(self, op: DictOp, who: Principal) -> Any:
        """Carries out one operation; `wire.DictOp` lists them. Raises `NotFoundError`, also for a Dict of an
        environment that `who` does not reach; `InvalidError`; `RequestSizeError`; `ResourceExhaustedError` over the
        limit in bytes."""
        environment = await self._store.read(lambda connection: _environment_of(connection, op.dict))
        if environment is None or not who.reaches(environment):
            raise NotFoundError(f"there is no Dict {op.dict!r}; it was deleted")
        match op.op:
            case "get":
                return await self._store.read(lambda connection: _get(connection, op.dict, _key(op)))
            case "contains":
                return await self._store.read(lambda connection: _get(connection, op.dict, _key(op)) is not None)
            case "len":
                count = sa.select(sa.func.count()).where(_i.dict == op.dict)
                return await self._store.read(lambda connection: connection.execute(count).scalar())
            case "items":
                return await self._store.read(lambda connection: _page(connection, op))
            case "put":
                return await self._put(op, environment)
            case "pop":
                return await self._store.transact(lambda connection: _pop(connection, op.dict, _key(op)))
            case "clear":
                statement = sa.delete(_items).where(_i.dict == op.dict)
                await self._store.transact(lambda connection: connection.execute(statement))
                return None
        raise InvalidError(f"a Dict has no operation {op.op!r}")

    async def _put(self, op: DictOp, environment: str) -> bool:
        for key, value in op.pairs:
            if len(key) > MAX_KEY_BYTES or len(value) > MAX_VALUE_BYTES:
                raise RequestSizeError(
                    f"a Dict takes keys of {MAX_KEY_BYTES >> 10} KiB and values of {MAX_VALUE_BYTES >> 20} MiB at most"
                )
        rows = [{"dict": op.dict, "key": key, "value": value} for key, value in op.pairs]
        if not rows:
            return True
        self._quota.charge(environment, sum(len(key) + len(value) for key, value in op.pairs))

        def put(connection: sa.Connection) -> bool:
            if op.if_absent:
                return sum(connection.execute(self._ignore, row).rowcount for row in rows) > 0
            connection.execute(self._replace, rows)
            return True

        return await self._store.transact(put)


def _looked(connection: sa.Connection, query: sa.Select[Any]) -> list[Looked]:
    found: list[Looked] = []
    total = 0
    with connection.execution_options(yield_per=1).execute(query) as rows:
        for row in rows:
            found.append(Looked(*row))
            total += len(row[0]) + len(row[1])
            if total > MAX_LOOKED_BYTES:
                break
    return found


def _key(op: DictOp) -> bytes:
    if len(op.keys) != 1:
        raise InvalidError(f"{op.op} of a Dict takes one key")
    return op.keys[0]


def _environment_of(connection: sa.Connection, id: str) -> str | None:
    return connection.execute(sa.select(tables.dicts.c.environment).where(tables.dicts.c.id == id)).scalar()


def _bytes_of(connection: sa.Connection, environment: str) -> int:
    """The bytes of all keys and values of an environment's Dicts."""
    own = sa.select(tables.dicts.c.id).where(tables.dicts.c.environment == environment)
    size = sa.func.sum(sa.func.length(_i.key) + sa.func.length(_i.value))
    return int(connection.execute(sa.select(size).where(_i.dict.in_(own))).scalar() or 0)


def _get(connection: sa.Connection, id: str, key: bytes) -> bytes | None:
    query = sa.select(_i.value).where(_i.dict == id, _i.key == key)
    return connection.execute(query).scalar()


def _pop(connection: sa.Connection, id: str, key: bytes) -> bytes | None:
    value = _get(connection, id, key)
    if value is not None:
        connection.execute(sa.delete(_items).where(_i.dict == id, _i.key == key))
    return value


def _page(connection: sa.Connection, op: DictOp) -> dict[str, Any]:
    """A page of items in the order of keys, after the cursor. `next` is the cursor of the next page, or null."""
    query = sa.select(_i.key, _i.value).where(_i.dict == op.dict).order_by(_i.key).limit(PAGE_ITEMS)
    if op.keys:
        query = query.where(_i.key > op.keys[0])
    pairs: list[tuple[bytes, bytes]] = []
    size = 0
    for key, value in connection.execute(query):
        pairs.append((key, value))
        size += len(key) + len(value)
        if size > PAGE_BYTES:
            break
    more = len(pairs) == PAGE_ITEMS or size > PAGE_BYTES
    return {"pairs": pairs, "next": pairs[-1][0] if more else None}
