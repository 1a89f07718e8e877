"""Fixtures of all tests: a short home, and a real server as users start it; and which worker runs which tests.

Unix socket paths must be short, so homes are made directly below the temporary directory.

The suite runs in several workers at once (`pytest -n 4 --dist loadgroup`). A file is run by one worker, so that what
its tests share is made once, and each worker has a server of its own. Tests that share more than a file has are marked
`xdist_group`, such as those that build the image of a language model. Tests that change the machine's own network take
a lock (`launched.outside_machine`). What a worker starts and makes ends with it (`guard`).
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest

from guard import Guard
from running_server import GPUS, RunningServer, alive, left_on_machine, poll

__all__ = ["RunningServer", "poll"]

# How long an example takes says nothing: the machine may be busy with other workers.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")

# Started in the background of a shell, this process ignores the interrupt, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


FIRST = ("language-model", "agent/images", "e2e", "examples", "client", "launcher", "security", "cli")
"""Groups and folders whose tests take longest: they begin first, so that none of them is left for the end."""


_GUARD = Guard()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Nothing is left when pytest has ended."""
    _GUARD.finish()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups the tests of a file, and puts those that take longest first."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(Path(__file__).parent))))
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    mark = item.get_closest_marker("xdist_group")
    group = mark.args[0] if mark is not None else ""
    return next((number for number, first in enumerate(FIRST) if group.startswith(first)), len(FIRST))


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
