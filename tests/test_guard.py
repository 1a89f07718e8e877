"""However a run of the tests is interrupted, none of its processes is left, nor a mount, group, link, table or file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deadline import DEADLINE_S
from launcher.launched import needs_root, tagged
from running_server import alive, commands, poll

pytestmark = needs_root
SAMPLE = Path(__file__).parent / "guarded" / "stand_still.py"


def _interrupt(run: int, worker: int) -> None:
    os.killpg(run, signal.SIGINT)


def _terminate(run: int, worker: int) -> None:
    os.killpg(run, signal.SIGTERM)


def _kill_the_run(run: int, worker: int) -> None:
    os.kill(run, signal.SIGKILL)


def _kill_all(run: int, worker: int) -> None:
    os.killpg(run, signal.SIGKILL)


def _kill_a_worker(run: int, worker: int) -> None:
    os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("end", [_interrupt, _terminate, _kill_the_run, _kill_all, _kill_a_worker])
def test_an_interrupted_run_leaves_nothing(home: Path, end: Callable[[int, int], None]) -> None:
    tells, made = home / "tells", home / "made"
    tells.mkdir()
    made.mkdir()
    home.chmod(0o711)
    made.chmod(0o711)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadgroup"]
    env = {**os.environ, "TMPDIR": str(made), "GUARDED_TELLS": str(tells)}
    with (home / "log").open("wb") as log:
        run = subprocess.Popen([*command, str(SAMPLE)], env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        poll(lambda: (tells / "0").exists() and (tells / "1").exists(), DEADLINE_S, (home / "log").read_text)
        first, second = (json.loads((tells / side).read_text()) for side in ("0", "1"))
        assert tagged(first["tag"])
        assert tagged(second["tag"])
        end(run.pid, first["worker"])
        poll(lambda: not _left(first), DEADLINE_S, lambda: str(_left(first)))
        if end is _kill_a_worker:
            assert second["worker"] in alive(set(second["family"]))
            os.killpg(run.pid, signal.SIGINT)
        poll(lambda: not _left(second), DEADLINE_S, lambda: str(_left(second)))
        run.wait(DEADLINE_S)
        poll(lambda: not list(made.iterdir()), DEADLINE_S, lambda: str(list(made.rglob("*"))))
    finally:
        run.kill()
        run.wait()


def _left(side: dict[str, Any]) -> list[str]:
    """Of a worker: its processes and all that they started, and what they had on the machine."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if side["home"] in line]
    home = [side["home"]] if Path(side["home"]).exists() else []
    return [*commands(alive(set(side["family"]))), *tagged(side["tag"]), *mounts, *home]
