"""A function or class as the server knows it: its id, and how it is found."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from inrush.client import _urls
from inrush.errors import InvalidError, NotFoundError
from inrush.wire import FindFunction, FunctionSpec

if TYPE_CHECKING:
    from inrush.client._connection import Link


class Reference:
    """How a function or class is found: bound by its app while that runs or is deployed, else looked up by name, in
    another app or, in a container, in its own app."""

    def __init__(self, app: str, name: str, foreign: bool, environment: str = "") -> None:
        """`foreign`: made by `from_name`, so the server is asked. Else `app` is the name of the app that it was
        defined in. An empty `environment` is the one that is used by default."""
        self.environment = environment
        self.app = app
        self.name = name
        self.id = ""
        self.urls: dict[str, str] = {}
        self.pages: dict[str, str] = {}
        """Each endpoint's address by path, and by host name: by method; `""` for a plain function."""
        self.spec: FunctionSpec | None = None
        self.foreign = foreign

    def bind(self, id: str, urls: dict[str, str], pages: dict[str, str], spec: FunctionSpec) -> None:
        """Binds it, because its app runs now."""
        self.id, self.urls, self.pages, self.spec = id, urls, pages, spec

    def unbind(self) -> None:
        """Unbinds it, because its app has ended."""
        self.id, self.urls, self.pages = "", {}, {}

    async def find(self, link: Link) -> str:
        """The id. Raises `NotFoundError`, or `InvalidError` where its app does not run."""
        if not self.id:
            answer = await self._ask(link)
            self.id = answer["function"]
            self.spec = msgspec.convert(answer["spec"], FunctionSpec)
            self.urls, self.pages = _urls.by_path(answer), _urls.by_host(answer)
        return self.id

    async def _ask(self, link: Link) -> Any:
        own = os.environ.get("INRUSH_APP", "")
        if self.foreign:
            return await link.ask(FindFunction(self.app, self.name, self.environment))
        if not own:
            raise InvalidError(
                f"{self.name} cannot be called: its app {self.app!r} is not running. Call it inside "
                "`with app.run():`, or in a program started by `inrush run`; or deploy the app, and use from_name"
            )
        try:
            return await link.ask(FindFunction(own, self.name))
        except NotFoundError:
            if self.app in ("", own):
                raise
            return await link.ask(FindFunction(self.app, self.name))
