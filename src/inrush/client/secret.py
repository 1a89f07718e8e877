"""Secrets: environment variables that the server stores sealed and gives to the containers that ask for them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from inrush.client import _checks, _dotenv
from inrush.client._dual import dual
from inrush.client._link import current
from inrush.client._missing import Suggests
from inrush.client._unbuilt import refuse
from inrush.errors import InvalidError, NotFoundError, UnimplementedError

if TYPE_CHECKING:
    from inrush.client._connection import Link


class Secret(Suggests):
    """Environment variables for `@app.function(secrets=[…])`, made by one of the `from_…` methods. Where several set a
    variable, the last one wins."""

    def __init__(
        self, values: Mapping[str, str], name: str = "", required: Sequence[str] = (), environment: str = ""
    ) -> None:
        self.environment = environment
        """The environment in which a named secret is looked up; empty for that of the app that uses it."""
        self.name = name
        """The secret's name; empty for an anonymous one."""
        self.keys = tuple(sorted(values)) or tuple(required)
        self._values = dict(values)
        self._required = tuple(required)

    def __repr__(self) -> str:
        return f"Secret({self.name!r})" if self.name else f"Secret({', '.join(self.keys)})"

    @staticmethod
    def from_dict(env_dict: Mapping[str, str | None] | None = None) -> Secret:
        """An anonymous secret of these variables. Variables whose value is None are left out."""
        for key, value in (env_dict or {}).items():
            if not _checks.is_text(key) or not key or "=" in key or not (value is None or _checks.is_text(value)):
                raise InvalidError(f"Secret.from_dict maps names of variables to strings; {key!r} is not such a pair")
        return Secret({k: v for k, v in (env_dict or {}).items() if v is not None})

    @staticmethod
    def from_local_environ(env_keys: Sequence[str]) -> Secret:
        """An anonymous secret of variables of this process. Raises `InvalidError` for one that is not set; in a
        container it is empty instead."""
        from inrush.client.context import is_local

        missing = [key for key in env_keys if key not in os.environ]
        if missing and is_local():
            raise InvalidError(f"Secret.from_local_environ: {', '.join(missing)} is not set here")
        return Secret({key: os.environ[key] for key in env_keys if key in os.environ})

    @staticmethod
    def from_dotenv(path: str | Path | None = None, *, filename: str = ".env", client: Any = None) -> Secret:
        """An anonymous secret of the variables of a `.env` file, read as python-dotenv reads it. Raises `NotFoundError`
        if there is none.

        The file is `path` itself, if its name is `filename` or has `.env` in it; else the first `filename` in the
        folder `path` (default: the working directory), or in that of the file `path` (such as `__file__`), or above it.
        """
        refuse(client)
        from inrush.client.context import is_local

        if not is_local():
            return Secret({})
        start = Path(path or ".").resolve()
        itself = start.is_file() and (start.name == filename or ".env" in start.name)
        folders = start.parents if start.is_file() else (start, *start.parents)
        places = [start] if itself else [folder / filename for folder in folders]
        found = next((p for p in places if p.is_file()), None)
        if found is None:
            raise NotFoundError(f"Secret.from_dotenv: there is no {filename} in {start} or above it")
        return Secret(_dotenv.read(found, os.environ))

    @staticmethod
    def from_name(
        name: str, *, environment_name: str | None = None, required_keys: Sequence[str] = (), client: Any = None
    ) -> Secret:
        """A secret that the server has, as made by `inrush secret create`.

        It is looked up when the app starts, which raises `NotFoundError` if the secret is not there or lacks one of
        `required_keys`.
        """
        refuse(client)
        return Secret(
            {}, _checks.name("Secret.from_name: name", name), required_keys, _checks.environment_of(environment_name)
        )

    @dual
    async def hydrate(self, client: Any = None) -> Secret:
        """Looks a named secret up now, or sends an anonymous one."""
        refuse(client)
        await self.resolve(await current())
        return self

    @dual
    async def update(self, env_dict: Mapping[str, str]) -> None:
        """Replaces the variables of a named secret by these. Containers that start afterwards have them."""
        if not self.name:
            raise InvalidError("only a named secret can be updated: Secret.from_name(…)")
        from inrush.wire import PutSecret

        link = await current()
        await link.ask(PutSecret(tuple(sorted(env_dict.items())), self.name, True, self.environment))

    def info(self) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError("Secret.info is not built yet; `inrush secret list` shows names and keys")

    async def resolve(self, link: Link, environment: str = "") -> str:
        """The secret's id on the server, for an app of this environment. An anonymous secret is sent each time, because
        it goes with its app."""
        from inrush.wire import FindSecret, PutSecret

        if self.name:
            return str(await link.ask(FindSecret(self.name, self._required, self.environment or environment)))
        return str(await link.ask(PutSecret(tuple(sorted(self._values.items())), environment=environment)))
