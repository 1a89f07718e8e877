"""`inrush bench` against a real server, with its cheapest rows; and other systems, run as processes that leave nothing
behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inrush.cli.commands.bench import rivals
from inrush.cli.commands.bench.targets import PHASES
from running_server import alive, descendants, poll

from .conftest import Inrush


def test_a_quick_run_writes_rows_with_a_rival_beside_ours(inrush: Inrush, tmp_path: Path):
    path = tmp_path / "results.json"
    only = ("--only", "start.isolated", "--only", "phase", "--only", "remote", "--only", "server.idle_mib")
    done = inrush("bench", "--quick", *only, "--against", "bare_python", "--json", str(path), timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(path.read_text())
    rows = {row["name"]: row for row in report["rows"]}
    assert set(rows) == {"start.isolated_ms", *PHASES, "remote.cold_ms", "remote.warm_ms", "server.idle_mib"}
    assert report["machine"]["rivals"] == {"bare_python": sys.version.split()[0]}
    for row in rows.values():
        assert row["n"] > 0
        assert row["unit"] in ("ms", "MiB")
        assert 0 <= row["p50"] <= row["p95"] <= row["p99"]
    for name in ("start.isolated_ms", "remote.cold_ms"):
        ours, theirs = rows[name]["p50"], rows[name]["rivals"]["bare_python"]["p50"]
        assert rows[name]["against"] == {"bare_python": pytest.approx(ours / theirs, rel=0.01)}
    assert rows["start.isolated_ms"]["p50"] < rows["remote.cold_ms"]["p50"]


def test_a_rival_that_is_not_there_is_a_line_that_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    reached = rivals.Field()
    rivals.run("crun", True, reached)
    assert reached.versions == {"crun": "not installed; `apt-get install crun` brings it"}
    assert reached.samples == {}


def test_a_rival_that_fails_is_told_and_the_next_one_runs(monkeypatch: pytest.MonkeyPatch):
    reached = rivals.Field()
    rivals.run("nobody", True, reached)
    assert "No module named 'inrush.cli.commands.bench.rivals.nobody'" in reached.versions["nobody"]


def test_a_rival_that_is_told_to_end_takes_all_below_it_along(tmp_path: Path):
    command = [sys.executable, "-m", "inrush.cli.commands.bench.rivals", "multiprocessing", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    poll(lambda: len(descendants(process.pid)) >= 3, 30)
    family = descendants(process.pid)
    os.kill(process.pid, signal.SIGTERM)
    process.wait(30)
    poll(lambda: not alive(family), 10, lambda: f"left behind: {alive(family)}")
