"""Routes about Dicts. Values are read without executing them."""

from __future__ import annotations

import asyncio
import base64
import binascii

from starlette.requests import Request

from inrush.errors import InvalidError, NotFoundError
from inrush.server.api import schema
from inrush.server.api.handlers import Handlers
from inrush.server.api.route import Route, number, who
from inrush.server.dicts.pickles import MAX_READ_BYTES, shown, shown_payload

MAX_ITEMS = 1000
"""The most items of a Dict in one answer."""
DEFAULT_ITEMS = 20


class DictRoutes(Handlers):
    """The handlers of one server."""

    def routes(self) -> list[Route]:
        """All routes of this file."""
        items = (
            ("limit", f"At most so many ({DEFAULT_ITEMS})"),
            ("key", "Only this key: its pickle (protocol 5, without memo), in base64url"),
        )
        return [
            Route("GET", "/dicts", "read", "Named Dicts", list[schema.Dict], self.dicts),
            Route(
                "GET", "/dicts/{name}/items", "read", "What a Dict holds, as JSON or by type and size",
                list[schema.DictItem], self.items, query=items, slashes=True,
            ),
            Route(
                "DELETE", "/dicts/{name}", "deploy", "Delete a Dict, and all in it", schema.Done, self.delete_dict,
                slashes=True,
            ),
        ]  # fmt: skip

    async def dicts(self, request: Request) -> list[schema.Dict]:
        return [schema.Dict(**told) for told in await self._server.dicts.all(self._scope(request).environment)]

    async def items(self, request: Request) -> list[schema.DictItem]:
        name, limit = request.path_params["name"], min(max(number(request, "limit", DEFAULT_ITEMS), 1), MAX_ITEMS)
        key = _decoded(request.query_params["key"]) if "key" in request.query_params else None
        found = await self._server.dicts.look(name, self._scope(request).environment, limit, MAX_READ_BYTES + 2, key)
        if key is not None and not found:
            raise NotFoundError(f"dict {name!r} has no such key; `inrush dict items {name}` shows what it has")
        return await asyncio.to_thread(lambda: [_item(*looked) for looked in found])

    async def delete_dict(self, request: Request) -> schema.Done:
        name, environment = request.path_params["name"], self._scope(request).environment
        await self._server.dicts.delete(name, environment)
        self._server.audit.note(who(request), "delete dict", environment, name)
        return schema.Done()


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text)
    except binascii.Error:
        raise InvalidError("key is not in base64url") from None


def _item(key: bytes, head: bytes, size: int) -> schema.DictItem:
    """An item of a Dict. `head` is the whole value, unless it is too large to be shown."""
    value = shown_payload(head)._replace(bytes=size)
    return schema.DictItem(key=schema.Shown(**shown(key)._asdict()), value=schema.Shown(**value._asdict()))
