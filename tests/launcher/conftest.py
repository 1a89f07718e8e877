"""Fixtures: a launcher for one test, which must leave nothing behind at its end."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from inrush.launcher.loop import Loop
from launcher.launched import Node, start_node, traces


@pytest.fixture
def state() -> Iterator[Path]:
    """An empty state directory."""
    path = Path(tempfile.mkdtemp(prefix="ir-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def loop() -> Iterator[Loop]:
    """The launcher's loop in this process, which gets its signals back."""
    before = signal.getsignal(signal.SIGCHLD)
    yield Loop()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, before)


@pytest.fixture
def make_node(state: Path) -> Callable[[], Awaitable[Node]]:
    """Starts a launcher in the state directory, as the environment is then."""

    return lambda: start_node(state)


@pytest.fixture
async def node(make_node: Callable[[], Awaitable[Node]]) -> AsyncIterator[Node]:
    """A launcher for one test."""
    made = await make_node()
    yield made
    await made.launcher.close()
    assert traces(made.state) == []
