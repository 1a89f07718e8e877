"""Fixtures of all tests: a short home, and a real server as users start it.

Unix socket paths must be short, so homes are made directly below the temporary directory.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

GPUS = "A10G:8,A100:8"
START_S = 60.0
STOP_S = 60.0


@dataclass
class RunningServer:
    """A `python -m inrush server` process with a home of its own."""

    home: Path
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    children: set[int] = field(default_factory=set)

    def start(self) -> dict[str, object]:
        """Starts it and waits until it can be used; what `server.json` says."""
        described = self.home / "run" / "server.json"
        described.unlink(missing_ok=True)
        with (self.home / "test.log").open("ab") as log:
            command = [sys.executable, "-m", "inrush", "server"]
            self.process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, start_new_session=True)
        poll(lambda: self.process is None or self.process.poll() is not None or _complete(described), START_S, self.log)
        assert self.process.poll() is None, f"the server did not start:\n{self.log()}"
        return dict(json.loads(described.read_text()))

    def stop(self) -> int:
        """Asks it to stop, waits for its end and that of all it started; its exit status."""
        assert self.process is not None
        family = descendants(self.process.pid)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_S)
        poll(lambda: not alive(family), 15.0, lambda: f"left behind: {commands(alive(family))}\n{self.log()}")
        return status

    def kill(self) -> None:
        """`kill -9`, as a crash would; what it started must end by itself."""
        assert self.process is not None
        family = descendants(self.process.pid)
        self.process.kill()
        self.process.wait()
        poll(lambda: not alive(family), 15.0, lambda: f"left behind: {commands(alive(family))}")

    def log(self) -> str:
        return (self.home / "test.log").read_text()[-6000:]

    def run(
        self, program: str, *arguments: str, timeout_s: float = 120.0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """`inrush run` of a program given as text; fails with all output if it does."""
        done = self.try_run(program, *arguments, timeout_s=timeout_s, **env)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n--- server ---\n{self.log()}"
        return done

    def try_run(
        self, program: str, *arguments: str, timeout_s: float = 120.0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "inrush", "run", str(self.write(program)), *arguments]
        return subprocess.run(command, env={**self.env, **env}, capture_output=True, text=True, timeout=timeout_s)

    def begin(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        """The same in the background; the caller ends it."""
        command = [sys.executable, "-u", "-m", "inrush", "run", str(self.write(program)), *arguments]
        return subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def containers(self) -> list[dict[str, object]]:
        """Those that have not ended, as the command line tells."""
        command = [sys.executable, "-m", "inrush", "container", "list", "--json"]
        told = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)
        assert told.returncode == 0, told.stderr
        return [row for row in json.loads(told.stdout) if row["state"] != "ended"]

    def launcher_pid(self) -> int:
        """The process that makes containers, by its name."""
        assert self.process is not None
        family = descendants(self.process.pid) - {self.process.pid}
        named = [pid for pid in family if Path(f"/proc/{pid}/comm").read_text().strip().startswith("inrush-launch")]
        assert len(named) == 1, commands(family)
        return named[0]

    def write(self, program: str) -> Path:
        """The program as a file."""
        directory = Path(tempfile.mkdtemp(prefix="program-", dir=self.home))
        path = directory / "program.py"
        path.write_text(textwrap.dedent(program))
        return path


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
        if running.process is not None and running.process.poll() is None:
            running.stop()
    assert left_on_machine(home) == []


# ── what is left ─────────────────────────────────────────────────────────────────────────────────────────────────────


def left_on_machine(home: Path) -> list[str]:
    """Mounts of a home that outlived its server."""
    return [line for line in Path("/proc/mounts").read_text().splitlines() if f"{home}/" in line]


def descendants(pid: int) -> set[int]:
    """The process and all below it."""
    parents: dict[int, int] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    family = {pid}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    return family


def alive(pids: set[int]) -> set[int]:
    """Those that have not ended; zombies have."""
    return {pid for pid in pids if (state := _state(pid)) and state != "Z"}


def commands(pids: set[int]) -> list[str]:
    return [f"{pid}: {Path(f'/proc/{pid}/comm').read_text().strip()}" for pid in pids if _state(pid)]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def poll(condition: Callable[[], object], timeout_s: float, why: Callable[[], str] = lambda: "") -> None:
    """Waits for a condition; fails with what `why` says."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s; {why()}"
        time.sleep(0.02)


def _complete(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):
        return False
