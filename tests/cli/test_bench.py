"""`inrush bench`: how measurements become rows, and how rows are judged, printed and drawn."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from inrush.cli.commands.bench import RIVALS, machine, plan, rivals
from inrush.cli.commands.bench.memory import Growth
from inrush.cli.commands.bench.report import Report
from inrush.cli.commands.bench.rows import Measured, Skipped, line, percentile, row
from inrush.cli.commands.bench.starts import split
from inrush.cli.commands.bench.targets import PHASES, TARGETS
from inrush.errors import InvalidError


def test_a_row_has_what_the_report_promises():
    told = row(Measured("remote.warm_ms", [0.4, 0.5, 0.3], {"ray_actor": [1.0, 0.8, 0.9]}))
    assert {name: told[name] for name in ("name", "unit", "n", "p50", "p95", "p99")} == {
        "name": "remote.warm_ms", "unit": "ms", "n": 3, "p50": 0.4, "p95": 0.5, "p99": 0.5,
    }  # fmt: skip
    assert told["against"] == {"ray_actor": 0.4444}  # ours divided by theirs
    assert told["rivals"] == {"ray_actor": {"p50": 0.9, "n": 3}}
    assert json.loads(json.dumps(told)) == told


def test_times_pass_when_their_median_is_not_above_what_must_be():
    assert row(Measured("remote.warm_ms", [0.5, 0.5, 9.0]))["pass"] is True
    assert row(Measured("remote.warm_ms", [0.51, 0.51, 0.1]))["pass"] is False


def test_where_the_95th_percentile_has_a_bound_it_is_judged_too():
    assert row(Measured("remote.cold_ms", [20.0] * 19 + [40.0]))["pass"] is True
    assert row(Measured("remote.cold_ms", [20.0] * 19 + [41.0]))["pass"] is False


def test_rates_pass_when_their_median_is_not_below_what_must_be():
    fast, slow = (row(Measured("map.one_container_per_s", [rate] * 3)) for rate in (30_000.0, 9_999.0))
    assert (fast["pass"], fast["goal_reached"], slow["pass"]) == (True, True, False)


def test_a_ratio_to_a_rival_is_judged_where_that_rival_took_part():
    assert row(Measured("map.inputs_per_s", [20_000.0], {"ray_task": [2_000.0]}))["pass"] is True
    assert row(Measured("map.inputs_per_s", [20_000.0], {"ray_task": [2_001.0]}))["pass"] is False
    assert row(Measured("remote.warm_ms", [0.4], {"ray_actor": [0.7]}))["pass"] is False
    assert row(Measured("remote.warm_ms", [0.4], {"dask": [0.1]}))["pass"] is True


def test_percentiles_are_towards_the_worse_end():
    samples = list(range(100))
    assert percentile(samples, 0.95) == 95
    assert percentile(samples, 0.95, worst_is_low=True) == 4
    assert percentile([7], 0.99) == 7
    assert percentile([1, 2, 9], 0.5) == 2


@pytest.mark.parametrize("name", TARGETS)
def test_every_number_has_a_line_that_says_what_it_must_be(name):
    target = TARGETS[name]
    said = line(row(Measured(name, [1.0])))
    assert name in said
    if target.must is not None:
        assert target.goal is not None
        assert f"{target.must:,g}" in said
        assert target.goal >= target.must if target.more else target.goal <= target.must


def test_a_line_says_how_many_times_better_whether_more_or_less_is_better():
    assert "2× dask" in line(row(Measured("remote.warm_ms", [1.0], {"dask": [2.0]})))
    assert "2× dask" in line(row(Measured("map.inputs_per_s", [2.0], {"dask": [1.0]})))


def test_phases_add_up_to_the_call_with_what_is_between_notes():
    told = [["prepare", 1.0], ["mount", 0.5], ["fork", 2.0], ["berth", 0.25], ["become", 0.25], ["confine", 0.5],
            ["verify", 0.125], ["answer", 0.125], ["import", 1.5], ["enter hooks", 0.5]]  # fmt: skip
    parts = split(placed_ms=1.0, first_line_ms=8.0, last_line_ms=9.5, answered_ms=11.0, told=told)
    assert parts == dict(zip(PHASES, (1.0, 1.5, 2.0, 1.0, 0.25, 2.25, 2.0, 1.0), strict=True))
    assert sum(parts.values()) == 11.0


def test_every_row_is_measured_by_one_step():
    assert sorted(name for step in plan.steps() for name in step.rows) == sorted(TARGETS)
    assert TARGETS.keys() >= rivals.ROWS


def test_rows_can_be_chosen_and_a_name_that_is_none_is_told():
    assert plan.wanted(["import", "remote.warm"]) == {"import.inrush_ms", "import.app_ms", "remote.warm_ms"}
    assert plan.wanted([]) == set(TARGETS)
    with pytest.raises(InvalidError, match=r"no row is called 'remot_'.*remote\.warm_ms"):
        plan.wanted(["remot_"])


def test_the_report_holds_machine_commit_and_rows_and_what_failed_is_missed(tmp_path: Path):
    said: list[str] = []
    report = Report(quick=True, say=said.append)
    report.take(Measured("import.inrush_ms", [1.0]))
    report.take(Measured("import.app_ms", [999.0]))
    report.take(Skipped("map.million_mib", "not with --quick"))
    report.take(Skipped("start.torch_ms", "BuildError: no network", failed=True))
    report.write(tmp_path / "results.json")
    told = json.loads((tmp_path / "results.json").read_text())
    assert set(told) == {"machine", "commit", "rows"}
    assert [made["name"] for made in told["rows"]] == ["import.inrush_ms", "import.app_ms"]
    assert told["machine"]["cores"] >= 1
    assert report.missed == ["import.app_ms", "start.torch_ms"]
    assert any("map.million_mib: not with --quick" in text for text in said)


def test_the_commit_is_that_of_the_source_tree():
    assert machine.commit()


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_has_what_the_run_needs(name):
    rival = importlib.import_module(f"inrush.cli.commands.bench.rivals.{name}")
    assert callable(rival.measure)
    assert isinstance(rival.missing(), str)


def test_both_pictures_are_drawn(tmp_path: Path):
    pytest.importorskip("matplotlib")
    from inrush.cli.commands.bench.plots import draw

    rows = [row(Measured(name, [1.0, 2.0])) for name in PHASES]
    rows += [row(Measured(name, [3.0], {"runc": [60.0], "ray_actor": [500.0]})) for name in sorted(rivals.ROWS)[:3]]
    pictures = list(draw({"rows": rows}, tmp_path))
    assert [path.name for path in pictures] == ["start-phases.png", "against.png"]
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in pictures)


def test_growth_is_that_of_the_process_that_grew_most_also_of_one_that_has_just_begun():
    """In a process of its own: this one frees what other tests held whenever it likes."""
    code = "print(flush=True); input(); held = bytearray(64 << 20); print(flush=True); input()"
    with Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE, text=True) as grower:
        assert grower.stdin is not None
        assert grower.stdout is not None
        grower.stdout.readline()
        with Growth(lambda: [os.getpid(), grower.pid]) as grown:
            print(file=grower.stdin, flush=True)
            grower.stdout.readline()
        assert 60 < grown.most_mib < 200
        pids: list[int] = []
        with Growth(lambda: pids) as begun:
            pids.append(grower.pid)
        assert begun.most_mib >= 64
        print(file=grower.stdin, flush=True)
