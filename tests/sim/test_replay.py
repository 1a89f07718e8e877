"""Replaying a journal gives the decisions that the server made; for changed code, the replay shows the first decision
that differs."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

import inrush
from inrush.cli.commands.sim import command
from inrush.core.cluster import HANDLERS, Cluster
from inrush.core.model import events
from inrush.core.model.effects import Effect
from inrush.errors import InvalidError
from inrush.server.journal import Journal
from inrush.sim.replay import compare, decisions, elsewhere, read
from inrush.sim.scenario import Pool, Scenario, Workload
from inrush.sim.traffic import Traffic
from inrush.sim.world import World
from inrush.wire import FunctionSpec, Retries

SOURCE = Path(inrush.__file__).parent


def record(path: Path, until_s: float, **ring: int) -> tuple[Path, list[Effect]]:
    """A journal file of a world with crashes, and the effects of that world's core."""
    workload = Workload(
        spec=FunctionSpec(name="f", retries=Retries(max_retries=2)),
        traffic=Traffic(rates=((0, 20),), until_s=until_s),
        input_crashes=0.02,
    )
    world = World(Scenario(about="recorded", pools=(Pool(nodes=2),), workloads=(workload,)), 7)
    journal, told, step = Journal(core=world.cluster, **ring), [], world.cluster.step

    def recording(event: events.Event, now: float) -> list[Effect]:
        journal.add(now, event)  # type: ignore[arg-type]
        out = step(event, now)
        told.extend(out)
        return out

    world.cluster.step = recording  # type: ignore[method-assign]
    world.run()
    path.write_bytes(journal.file("1"))
    return path, told


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Path, list[Effect]]:
    """From the first event on."""
    return record(tmp_path / "journal", 5)


@pytest.fixture
def overflowed(tmp_path: Path) -> tuple[Path, list[Effect]]:
    """From a checkpoint on."""
    return record(tmp_path / "journal", 20, limit_bytes=60_000)


def copy_of_the_tree(tmp_path: Path, file: str, text: str, instead: str) -> Path:
    """With another text in one of the core's files."""
    other = tmp_path / "other" / "src"
    shutil.copytree(SOURCE, other / "inrush", ignore=shutil.ignore_patterns("__pycache__"))
    changed = other / "inrush" / "core" / file
    before = changed.read_text()
    assert text in before
    changed.write_text(before.replace(text, instead))
    return tmp_path / "other"


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
    other = copy_of_the_tree(tmp_path, "model/tuning.py", "horizon_min_s: float = 0.25", "horizon_min_s: float = 60.0")
    difference = compare(decisions(recorded[0]), elsewhere(recorded[0], other))
    assert difference is not None
    steps = list(decisions(recorded[0]))
    assert difference.here in steps
    assert difference.there is not None
    assert difference.there not in steps


def test_a_journal_from_a_checkpoint_on_gives_the_decisions_here_and_in_another_process(
    overflowed: tuple[Path, list[Effect]],
) -> None:
    path, told = overflowed
    assert "checkpoint" in read(path)[0]
    again = [effect for step in decisions(path) for effect in step["decided"]]
    assert 300 < len(again) < len(told)
    assert again == [msgspec.to_builtins(effect) for effect in told[-len(again) :]]
    assert compare(decisions(path), elsewhere(path, SOURCE.parent)) is None


def test_the_command_says_from_where_on_a_journal_is(overflowed: tuple[Path, list[Effect]]) -> None:
    done = CliRunner().invoke(command, ["replay", str(overflowed[0])])
    assert ", from a checkpoint on\n" in done.output
    assert done.output.endswith(f"{sum(len(step['decided']) for step in decisions(overflowed[0]))} decisions\n")


def test_a_changed_tree_is_told_apart_from_a_checkpoint_on(
    overflowed: tuple[Path, list[Effect]], tmp_path: Path
) -> None:
    other = copy_of_the_tree(tmp_path, "model/tuning.py", "horizon_min_s: float = 0.25", "horizon_min_s: float = 60.0")
    assert compare(decisions(overflowed[0]), elsewhere(overflowed[0], other)) is not None


def test_a_tree_from_before_checkpoints_says_so(overflowed: tuple[Path, list[Effect]], tmp_path: Path) -> None:
    other = copy_of_the_tree(tmp_path, "cluster.py", "def restored(", "def not_there_yet(")
    with pytest.raises(InvalidError, match="its core is from before journals had checkpoints") as raised:
        list(elsewhere(overflowed[0], other))
    assert "inrush.errors" not in str(raised.value)


def test_a_malformed_checkpoint_is_refused_with_the_name_of_the_file(
    overflowed: tuple[Path, list[Effect]],
) -> None:
    path = overflowed[0]
    told = msgspec.msgpack.decode(path.read_bytes())
    told["checkpoint"]["objects"][0] = ["Popen", "true"]
    path.write_bytes(msgspec.msgpack.encode(told))
    with pytest.raises(InvalidError, match=f"{path}: the checkpoint cannot be read: it has a 'Popen'"):
        list(decisions(path))
    told["checkpoint"] = [[]]
    path.write_bytes(msgspec.msgpack.encode(told))
    with pytest.raises(InvalidError, match="the checkpoint cannot be read"):
        list(decisions(path))


def test_a_step_that_fails_is_told_and_passed_over_as_a_server_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(core=Cluster("s"))
    journal.add(1.0, events.NodeLeft("no-1", "gone"))
    journal.add(2.0, events.CallArrived("ca-1", "fn-1", "map", 2, first=0, count=1))
    (tmp_path / "journal").write_bytes(journal.file("1"))

    def fail(state: object, event: events.NodeLeft) -> None:
        raise KeyError(event.node)

    monkeypatch.setitem(HANDLERS, events.NodeLeft, fail)
    failed, decided = decisions(tmp_path / "journal")
    assert (failed["step"], failed["failed"], failed["decided"]) == (0, "KeyError: 'no-1'", [])
    assert (decided["step"], decided["decided"][0]["type"]) == (1, "Resolve")


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
    with pytest.raises(InvalidError, match="not a journal"):
        list(decisions(tmp_path / "text"))
    with pytest.raises(InvalidError, match="source tree"):
        list(elsewhere(recorded[0], tmp_path))
