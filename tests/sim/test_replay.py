"""Journals: what a server was told, stepped again, gives what it decided; a changed tree is told apart at its first
other decision."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

import inrush
from inrush.core import events
from inrush.core.cluster import Cluster
from inrush.core.effects import Effect
from inrush.errors import InvalidError
from inrush.server.loop import Journal
from inrush.sim.replay import compare, decisions, elsewhere
from inrush.sim.scenario import Pool, Scenario, Workload
from inrush.sim.traffic import Traffic
from inrush.sim.world import World
from inrush.wire import FunctionSpec, Retries

SOURCE = Path(inrush.__file__).parent


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, list[Effect]]:
    """A journal file of a world with crashes, and the effects of that world's core."""
    workload = Workload(
        spec=FunctionSpec(name="f", retries=Retries(max_retries=2)),
        traffic=Traffic(rates=((0, 20),), until_s=5),
        input_crashes=0.02,
    )
    world = World(Scenario(about="recorded", pools=(Pool(nodes=2),), workloads=(workload,)), 7)
    journal, told, step = Journal(core=world.cluster), [], world.cluster.step

    def recording(event: events.Event, now: float) -> list[Effect]:
        journal.add(now, event)  # type: ignore[arg-type]
        out = step(event, now)
        told.extend(out)
        return out

    world.cluster.step = recording  # type: ignore[method-assign]
    world.run()
    path = tmp_path / "journal"
    path.write_bytes(journal.file("1"))
    return path, told


def test_a_journal_stepped_again_gives_the_decisions_of_the_core_it_was_recorded_from(
    recorded: tuple[Path, list[Effect]],
) -> None:
    path, told = recorded
    again = [effect for step in decisions(path) for effect in step["decided"]]
    assert again == [msgspec.to_builtins(effect) for effect in told]
    assert len(again) > 300


def test_the_same_tree_in_another_process_decides_the_same(recorded: tuple[Path, list[Effect]]) -> None:
    assert compare(decisions(recorded[0]), elsewhere(recorded[0], SOURCE.parent)) is None


def test_the_first_decision_that_another_tree_makes_otherwise_is_found(
    recorded: tuple[Path, list[Effect]], tmp_path: Path
) -> None:
    other = tmp_path / "other" / "src"
    shutil.copytree(SOURCE, other / "inrush", ignore=shutil.ignore_patterns("__pycache__"))
    changed = other / "inrush" / "core" / "tuning.py"
    text = changed.read_text()
    assert "horizon_min_s: float = 0.25" in text
    changed.write_text(text.replace("horizon_min_s: float = 0.25", "horizon_min_s: float = 60.0"))
    difference = compare(decisions(recorded[0]), elsewhere(recorded[0], tmp_path / "other"))
    assert difference is not None
    steps = list(decisions(recorded[0]))
    assert difference.here in steps
    assert difference.there is not None
    assert difference.there not in steps


def test_a_ring_that_let_its_beginning_go_says_so(tmp_path: Path) -> None:
    journal = Journal(limit_bytes=200, core=Cluster("s"))
    for number in range(50):
        journal.add(float(number), events.NodeLeft(f"no-{number}", "gone"))
    told = msgspec.msgpack.decode(journal.file("1"))
    assert told["complete"] is False
    assert 0 < len(told["events"]) < 50


def test_what_is_no_journal_and_what_is_no_tree_is_refused_in_words(
    recorded: tuple[Path, list[Effect]], tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InvalidError, match="no journal"):
        list(decisions(tmp_path / "text"))
    with pytest.raises(InvalidError, match="source tree"):
        list(elsewhere(recorded[0], tmp_path))
