"""A real server in a home of its own, and the real command against it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Inrush = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def server_home() -> Iterator[Path]:
    """A home with a short path, for sockets; the server that its clients started is stopped at the end."""
    home = Path(tempfile.mkdtemp(prefix="ih-"))
    yield home
    run_in(home, "server", "stop", "-y")
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def inrush(server_home: Path) -> Inrush:
    """Runs the command and gives what it printed, and its status."""
    return lambda *args, **options: run_in(server_home, *args, **options)


def run_in(home: Path, *args: str, env: dict[str, str] | None = None, timeout: float = 120, **options):
    """The command with this home."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("INRUSH_")}
    environ |= {"INRUSH_HOME": str(home), "INRUSH_GPUS": "A10G:2", **(env or {})}
    command = [sys.executable, "-m", "inrush", *args]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=timeout, **options)
