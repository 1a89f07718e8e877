"""Dict: a named, durable map on the server, shared by all apps of an environment that know its name."""

from __future__ import annotations

import functools
import io
import os
import pickle
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from inrush.client import _checks
from inrush.client._connection import Link
from inrush.client._dicts import Dicts
from inrush.client._dual import Dual, DualScope, dual, dual_iter
from inrush.client._link import current
from inrush.client._payload import dump, load
from inrush.client._unbuilt import refuse
from inrush.errors import InvalidError, NotFoundError, RequestSizeError, SerializationError
from inrush.wire import DeleteDict, DictOp, OpenDict

VALUE_LIMIT_BYTES = 32 * 1024 * 1024
UPDATE_BYTES = 8 * 1024 * 1024
UPDATE_PAIRS = 10_000
"""Of one message of `update`."""

_NOTHING: Any = object()


class _Delete:
    """`d.delete()` removes the Dict with everything in it; `Dict.delete("name")` does so by name."""

    def __init__(self) -> None:
        self.__doc__ = type(self).__doc__

    def __get__(self, instance: Dict | None, owner: type[Dict]) -> Dual[..., None]:
        if instance is None:
            return owner.objects.delete
        return Dual(functools.partial(self._delete, instance), self.__doc__)

    @staticmethod
    async def _delete(instance: Dict) -> None:
        link = await current()
        await link.ask(DeleteDict(instance.name, instance.environment))
        instance._id = ""


class Dict:
    """A named, durable map. Keys and values are anything that pickles; a value takes up to 32 MiB. Writes are on disk
    when they return.

    `d[key]`, `d[key] = value`, `key in d`, `del d[key]` and `len(d)` block; the methods have async twins (`await
    d.get.aio(key)`). Two keys are the same when they pickle to the same bytes, so 1 and 1.0 are two keys.
    """

    def __init__(self, name: str, create: bool = False, environment: str = "") -> None:
        self.name = name
        self.environment = environment
        """The environment in which the Dict is looked up; empty for the default one."""
        self._create = create
        self._id = ""

    def __repr__(self) -> str:
        return f"Dict({self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Dict, (self.name, self._create, self.environment)

    @staticmethod
    def from_name(
        name: str, *, environment_name: str | None = None, create_if_missing: bool = False, client: Any = None
    ) -> Dict:
        """The Dict of this name. It is looked up when it is first used, which raises `NotFoundError` if it is not
        there, unless `create_if_missing`."""
        refuse(client)
        if not isinstance(name, str) or not name:
            raise InvalidError(f"a Dict has a name, not {name!r}")
        return Dict(name, create_if_missing, _checks.environment_of(environment_name))

    @staticmethod
    async def _ephemeral(*, client: Any = None, environment_name: str | None = None) -> AsyncGenerator[Dict, None]:
        refuse(client)
        environment = _checks.environment_of(environment_name)
        made = Dict(f"ephemeral-{os.urandom(16).hex()}", create=True, environment=environment)
        link = await current()
        await made._open(link)
        try:
            yield made
        finally:
            await link.ask(DeleteDict(made.name, environment))

    ephemeral = DualScope(
        _ephemeral, "A Dict without a name of its own, for `with Dict.ephemeral() as d:`; it goes with the block."
    )

    @dual
    async def hydrate(self, client: Any = None) -> Dict:
        """Looks the Dict up now, or makes it."""
        refuse(client)
        await self._open(await current())
        return self

    @dual
    async def get(self, key: Any, default: Any = None) -> Any:
        """The value of a key, or `default` if the key is not there."""
        return await self._get(key, default)

    @dual
    async def contains(self, key: Any) -> bool:
        """Whether the key is there."""
        return bool(await self._do("contains", keys=(_key(key),)))

    @dual
    async def put(self, key: Any, value: Any, *, skip_if_exists: bool = False) -> bool:
        """Sets a value and returns True. With `skip_if_exists` a key that is there keeps its value, and False is
        returned."""
        return bool(await self._do("put", pairs=((_key(key), _value(key, value)),), if_absent=skip_if_exists))

    @dual
    async def update(self, other: Mapping[Any, Any] | None = None, /, **kwargs: Any) -> None:
        """Sets many values, in messages of about 8 MiB. Each message is stored as a whole or not at all."""
        pairs: list[tuple[bytes, bytes]] = []
        size = 0
        for key, value in {**(other or {}), **kwargs}.items():
            pair = (_key(key), _value(key, value))
            if pairs and (size + len(pair[0]) + len(pair[1]) > UPDATE_BYTES or len(pairs) >= UPDATE_PAIRS):
                await self._do("put", pairs=tuple(pairs))
                pairs, size = [], 0
            pairs.append(pair)
            size += len(pair[0]) + len(pair[1])
        if pairs:
            await self._do("put", pairs=tuple(pairs))

    @dual
    async def pop(self, key: Any, default: Any = _NOTHING) -> Any:
        """Removes a key and returns its value. Without one it returns `default`, or raises `KeyError` where none is
        given."""
        data = await self._do("pop", keys=(_key(key),))
        if data is None and default is _NOTHING:
            raise KeyError(key)
        return default if data is None else load(data)

    @dual
    async def len(self) -> int:
        """The number of keys."""
        return int(await self._do("len"))

    @dual
    async def clear(self) -> None:
        """Removes all keys."""
        await self._do("clear")

    @dual_iter
    async def items(self) -> AsyncGenerator[tuple[Any, Any], None]:
        """All keys and values, page by page. A change made meanwhile may or may not be seen."""
        async for key, value in self._pairs():
            yield pickle.loads(key), load(value)  # noqa: S301 - the user's own data

    @dual_iter
    async def keys(self) -> AsyncGenerator[Any, None]:
        """All keys, page by page."""
        async for key, _ in self._pairs():
            yield pickle.loads(key)  # noqa: S301

    @dual_iter
    async def values(self) -> AsyncGenerator[Any, None]:
        """All values, page by page."""
        async for _, value in self._pairs():
            yield load(value)

    delete = _Delete()
    objects: Dicts[Dict] = Dicts(lambda name, environment: Dict(name, environment=environment))

    def __getitem__(self, key: Any) -> Any:
        value = self.get(key, _NOTHING)
        if value is _NOTHING:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        self.put(key, value)

    def __delitem__(self, key: Any) -> None:
        self.pop(key)

    def __contains__(self, key: Any) -> bool:
        return self.contains(key)

    def __len__(self) -> int:
        return self.len()

    def __bool__(self) -> bool:
        return True

    async def _get(self, key: Any, default: Any) -> Any:
        data = await self._do("get", keys=(_key(key),))
        return default if data is None else load(data)

    async def _pairs(self) -> AsyncGenerator[tuple[bytes, bytes], None]:
        at: tuple[bytes, ...] = ()
        while True:
            page = await self._do("items", keys=at)
            for key, value in page["pairs"]:
                yield key, value
            if page["next"] is None:
                return
            at = (page["next"],)

    async def _open(self, link: Link) -> str:
        if not self._id:
            self._id = str(await link.ask(OpenDict(self.name, self._create, self.environment)))
        return self._id

    async def _do(
        self,
        op: str,
        keys: tuple[bytes, ...] = (),
        pairs: tuple[tuple[bytes, bytes], ...] = (),
        if_absent: bool = False,
    ) -> Any:
        link = await current()
        known = bool(self._id)
        try:
            return await link.ask(DictOp(await self._open(link), op, keys, pairs, if_absent))
        except NotFoundError:
            if not known:
                raise
            self._id = ""  # deleted since we looked it up; there may be a new one of this name
            return await link.ask(DictOp(await self._open(link), op, keys, pairs, if_absent))


def _key(key: Any) -> bytes:
    """Pickles a key to the same bytes for equal keys: without pickle's memo, which tells identical objects from equal
    ones."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 5)
    pickler.fast = True
    try:
        pickler.dump(key)
    except Exception as error:
        raise SerializationError(f"{key!r} cannot be a key of a Dict: it does not pickle ({error})") from error
    return buffer.getvalue()


def _value(key: Any, value: Any) -> bytes:
    try:
        data = dump(value)
    except Exception as error:
        raise SerializationError(
            f"the value for {key!r} cannot be kept in a Dict: it does not pickle ({error})"
        ) from error
    if len(data) > VALUE_LIMIT_BYTES:
        raise RequestSizeError(
            f"the value for {key!r} takes {len(data) >> 20} MiB; the limit is {VALUE_LIMIT_BYTES >> 20} MiB"
        )
    return data
