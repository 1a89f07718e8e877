"""A real server in a temporary home with a short path, and peers for its links."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inrush import settings
from inrush.server.serve import Server

from .peers import Client

Opened = contextlib.AbstractAsyncContextManager[Server]


@pytest.fixture
def home() -> Iterator[Path]:
    """Short, because a unix socket's path may have 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="in-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def opened(home: Path) -> Callable[..., Opened]:
    """Opens a server of this home, with settings; closes it at the end."""

    @contextlib.asynccontextmanager
    async def open_server(**given: Any) -> AsyncIterator[Server]:
        server = Server(home, settings.load({"idle_exit_s": 0, **given}, environ={"INRUSH_HOME": str(home)}))
        await server.start()
        try:
            yield server
        finally:
            await server.stop()

    return open_server


@pytest.fixture
async def server(opened: Callable[..., Opened]) -> AsyncIterator[Server]:
    """One that runs."""
    async with opened() as server:
        yield server


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    """A client of it, connected."""
    client = await Client(server.home / "run" / "server.sock").connect()
    yield client
    await client.close()
