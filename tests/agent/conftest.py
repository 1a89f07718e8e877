"""Fixtures for a whole agent in the test's own process, with real launcher, images and containers. The test plays the
server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from agent.desk import Desk


class Loop(uvloop.Loop):
    """The loop that a server runs on. It tells of what a signal handler raises and goes on, so that pytest's timeout
    would not end a test that hangs: here it stops instead.
    """

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        super().call_exception_handler(context)
        if not isinstance(context.get("exception"), Exception | None):
            self.stop()


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    return {"uvloop": Loop}


@pytest.fixture
def node_settings() -> dict[str, Any]:
    """Settings other than the defaults; tests override it."""
    return {}


@pytest.fixture(scope="session")
def node_home() -> Iterator[Path]:
    """The state of one node over all tests, each of which starts its agent anew: layers are made once."""
    home = Path(tempfile.mkdtemp(prefix="ir-"))
    (home / "node").mkdir()
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
async def desk(node_home: Path, node_settings: dict[str, Any]) -> AsyncIterator[Desk]:
    desk = Desk(node_home, node_settings)
    await desk.open()
    yield desk
    await desk.node.stop(0)
