"""Fixtures of all tests: a short home, and a real server as users start it.

Unix socket paths must be short, so homes are made directly below the temporary directory.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from running_server import GPUS, RunningServer, alive, left_on_machine, poll

__all__ = ["RunningServer", "poll"]

# Started in the background of a shell, this process ignores the interrupt, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty state directory with a short path."""
    path = Path(tempfile.mkdtemp(prefix="ir-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def own_server(home: Path) -> Iterator[RunningServer]:
    """A server for tests that kill it, or that need its settings changed: set `env`, then `start`."""
    yield from _server(home, {})


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests that leave it as they found it."""
    path = Path(tempfile.mkdtemp(prefix="ir-"))
    for running in _server(path, {}):
        running.start()
        yield running
    shutil.rmtree(path, ignore_errors=True)


def _server(home: Path, env: Mapping[str, str]) -> Iterator[RunningServer]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("INRUSH_")}
    running = RunningServer(home, {**inherited, "INRUSH_HOME": str(home), "INRUSH_GPUS": GPUS, **env})
    try:
        yield running
    finally:
        if running.pid and alive({running.pid}):
            running.stop()
    assert left_on_machine(home) == []
