"""`Dict.objects`: the named Dicts that the server has."""

from __future__ import annotations

import builtins
import datetime
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from inrush.client import _checks
from inrush.client._dual import dual
from inrush.client._link import current
from inrush.client._unbuilt import refuse
from inrush.errors import AlreadyExistsError, NotFoundError
from inrush.wire import DeleteDict, ListDicts, OpenDict

D = TypeVar("D")


class Dicts(Generic[D]):
    """Creates, lists and deletes named Dicts: `Dict.objects.create("d")`, `.list()`, `.delete("d")`."""

    def __init__(self, of: Callable[[str, str], D]) -> None:
        self._of = of

    @dual
    async def create(
        self, name: str, *, allow_existing: bool = False, environment_name: str | None = None, client: Any = None
    ) -> None:
        """Makes an empty Dict. Raises `AlreadyExistsError` where there is one, unless `allow_existing`."""
        refuse(client)
        link = await current()
        environment = _checks.environment_of(environment_name)
        if not allow_existing and any(row["name"] == name for row in await link.ask(ListDicts(environment))):
            raise AlreadyExistsError(f"there is a Dict {name!r} already; allow_existing=True takes it as it is")
        await link.ask(OpenDict(name, True, environment))

    @dual
    async def list(
        self,
        *,
        max_objects: int | None = None,
        created_before: datetime.datetime | str | None = None,
        environment_name: str | None = None,
        client: Any = None,
    ) -> builtins.list[D]:
        """All of them, the latest first; `created_before` is a time, or one in ISO form."""
        refuse(client)
        if isinstance(created_before, str):
            created_before = datetime.datetime.fromisoformat(created_before)
        environment = _checks.environment_of(environment_name)
        found = await (await current()).ask(ListDicts(environment))
        rows = sorted(found, key=lambda row: float(row["created"]), reverse=True)
        if created_before is not None:
            rows = [row for row in rows if row["created"] < created_before.timestamp()]
        return [self._of(row["name"], environment) for row in rows[:max_objects]]

    @dual
    async def delete(
        self, name: str, *, allow_missing: bool = False, environment_name: str | None = None, client: Any = None
    ) -> None:
        """Removes a Dict with everything in it. Raises `NotFoundError` where there is none, unless `allow_missing`."""
        refuse(client)
        try:
            await (await current()).ask(DeleteDict(name, _checks.environment_of(environment_name)))
        except NotFoundError:
            if not allow_missing:
                raise
