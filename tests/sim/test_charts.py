"""Charts: thinned without losing peaks, as a page that needs nothing and as a picture."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from inrush.cli.commands.sim import command
from inrush.sim.charts import POINTS, charts, peaks, ticks
from inrush.sim.page import page
from inrush.sim.plots import draw
from inrush.sim.report import Report
from inrush.sim.run import simulated
from inrush.sim.world import World

TOML = """
about = "a <small> one"
sample_s = 0.01
pools = [{ nodes = 1, gpu_type = "A100", gpus = 2 }]
[[workloads]]
spec = { name = "f", resources = { gpu = [{ type = "A100" }] } }
traffic = { rates = [[0, 10]], until_s = 15 }
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, World, Report]:
    """A scenario's file, and the world that has run."""
    path = tmp_path_factory.mktemp("sim") / "small.toml"
    path.write_text(TOML)
    world, report = simulated(str(path), 7)
    return path, world, report


def test_thinning_keeps_the_most_of_each_part() -> None:
    assert peaks([0, 9, 1, 2, 5, 3, 4], 3) == [9, 5, 4]


def test_marks_of_an_axis_are_few_and_round() -> None:
    assert ticks(10_000) == [0, 5000, 10_000]
    assert ticks(33) == [0, 10, 20, 30]
    assert ticks(0.8) == [0, 0.2, 0.4, 0.6000000000000001, 0.8]


def test_the_longest_time_in_the_queue_is_drawn(small: tuple[Path, World, Report]) -> None:
    waits = charts(small[1])[3].lines[0]
    assert waits.name == "app/f"
    assert small[2].queue_ms["p99"] <= max(waits.values) * 1000 < small[2].virtual_s * 1000


def test_charts_have_no_more_points_than_fit(small: tuple[Path, World, Report]) -> None:
    found = charts(small[1])
    assert [chart.title.split(",")[0] for chart in found] == [
        *("GPUs", "containers and nodes", "inputs that wait", "seconds in the queue"),
    ]
    assert len(small[1].gauge.curves["time_s"]) > POINTS
    for chart in found:
        assert 0 < len(chart.time_s) <= POINTS
        assert all(len(line.values) == len(chart.time_s) for line in chart.lines)
    assert max(found[0].lines[0].values) == 2


def test_the_page_is_one_file_with_a_line_for_each_curve(small: tuple[Path, World, Report]) -> None:
    html = page(small[2], "a <small> one", charts(small[1]))
    assert html.count("<polyline") == 4
    assert html.count("<polygon") == 3
    assert "a &lt;small&gt; one" in html
    assert not re.search(r"(src|href)=", html)
    assert str(small[2].calls) in html


def test_the_picture_is_a_png(small: tuple[Path, World, Report], tmp_path: Path) -> None:
    draw(charts(small[1]), small[2], tmp_path / "small.png")
    assert (tmp_path / "small.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_runs_a_scenario_with_a_trace_and_writes_what_it_is_asked_for(
    small: tuple[Path, World, Report], tmp_path: Path
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("timestamp,duration\n" + "".join(f"{k / 10},0.1\n" for k in range(40)))
    wanted = [tmp_path / name for name in ("r.json", "r.html", "r.png")]
    done = CliRunner().invoke(
        command,
        [
            *(str(small[0]), "--trace", str(trace), "--seed", "3"),
            *("--json", str(wanted[0]), "--html", str(wanted[1]), "--png", str(wanted[2])),
        ],
    )
    assert done.exit_code == 0, done.output
    assert '"calls": 40' in wanted[0].read_text()
    assert all(path.stat().st_size > 500 for path in wanted)


def test_the_command_lists_scenarios_and_fuzzes() -> None:
    assert "ten thousand" in CliRunner().invoke(command, ["list"]).output.lower()
    done = CliRunner().invoke(command, ["fuzz", "--first", "3", "--seeds", "1"])
    assert "1 seeds from 3: 0 failed" in done.output
