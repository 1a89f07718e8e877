"""A real server in a process of its own, as tests see it, and what it leaves on the machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

GPUS = "A10G:8,A100:8"
START_S = 60.0
STOP_S = 60.0


@dataclass
class RunningServer:
    """A `python -m inrush server` process with a home of its own."""

    home: Path
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    pid: int = 0

    def start(self) -> dict[str, object]:
        """Starts it and waits until it can be used; what `server.json` says."""
        described = self.home / "run" / "server.json"
        described.unlink(missing_ok=True)
        with (self.home / "test.log").open("ab") as log:
            command = [sys.executable, "-m", "inrush", "server"]
            self.process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log, start_new_session=True)
        poll(lambda: self.process is None or self.process.poll() is not None or _complete(described), START_S, self.log)
        assert self.process.poll() is None, f"the server did not start:\n{self.log()}"
        self.pid = self.process.pid
        return dict(json.loads(described.read_text()))

    def adopt(self) -> None:
        """Waits for a server that somebody else starts for this home, and looks after that one from now on."""
        described = self.home / "run" / "server.json"
        poll(lambda: _complete(described) and _pid_in(described) != self.pid, START_S, self.log)
        self.process, self.pid = None, _pid_in(described)

    def stop(self) -> int:
        """Asks it to stop, waits for its end and that of all it started; its exit status (0 for an adopted one)."""
        family = descendants(self.pid)
        os.kill(self.pid, signal.SIGTERM)
        status = self.process.wait(STOP_S) if self.process is not None else 0
        poll(lambda: not alive(family), STOP_S, lambda: f"left behind: {commands(alive(family))}\n{self.log()}")
        self.pid = 0
        return status

    def kill(self) -> None:
        """`kill -9`, as a crash would; what it started must end by itself."""
        family = descendants(self.pid)
        os.kill(self.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        poll(lambda: not alive(family), STOP_S, lambda: f"left behind: {commands(alive(family))}")

    def log(self) -> str:
        texts = [path.read_text() for name in ("test.log", "server.log") if (path := self.home / name).exists()]
        return "\n".join(texts)[-6000:]

    def run(
        self, program: str | Path, *arguments: str, timeout_s: float = 120.0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """`inrush run` of a program, given as text or as a file; fails with all output if it does."""
        done = self.try_run(program, *arguments, timeout_s=timeout_s, **env)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n--- server ---\n{self.log()}"
        return done

    def try_run(
        self, program: str | Path, *arguments: str, timeout_s: float = 120.0, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """The same where a failure is what is looked for."""
        command = [sys.executable, "-m", "inrush", "run", str(self.write(program)), *arguments]
        return subprocess.run(command, env={**self.env, **env}, capture_output=True, text=True, timeout=timeout_s)

    def inrush(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command; it may fail."""
        command = [sys.executable, "-m", "inrush", *words]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=120)

    def begin(self, program: str | Path, *arguments: str) -> subprocess.Popen[str]:
        """The same in the background; the caller ends it."""
        command = [sys.executable, "-u", "-m", "inrush", "run", str(self.write(program)), *arguments]
        return subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def containers(self) -> list[dict[str, object]]:
        """Those that start or run, as the command line tells."""
        command = [sys.executable, "-m", "inrush", "container", "list", "--json"]
        told = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)
        assert told.returncode == 0, told.stderr
        return list(json.loads(told.stdout))

    def launcher_pid(self) -> int:
        """The process that makes containers, by its name."""
        family = descendants(self.pid) - {self.pid}
        named = [pid for pid in family if Path(f"/proc/{pid}/comm").read_text().strip().startswith("inrush-launch")]
        assert len(named) == 1, commands(family)
        return named[0]

    def write(self, program: str | Path) -> Path:
        """The program as a file."""
        if isinstance(program, Path):
            return program
        directory = Path(tempfile.mkdtemp(prefix="program-", dir=self.home))
        path = directory / "program.py"
        path.write_text(textwrap.dedent(program))
        return path


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


def _pid_in(path: Path) -> int:
    return int(json.loads(path.read_text())["pid"])


def _complete(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):
        return False
