"""One store for all tests of images, so that Debian is made once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.images import imaging


@pytest.fixture
def state() -> Iterator[Path]:
    """An empty state directory, for a store of one test."""
    path = imaging.make_state()
    yield path
    imaging.remove_state(path)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared() -> AsyncIterator[imaging.Images]:
    """The store that tests share; removed at the end."""
    path = imaging.make_state()
    async with imaging.images(path) as made:
        yield made
        assert made.leftovers() == []
    imaging.remove_state(path)
