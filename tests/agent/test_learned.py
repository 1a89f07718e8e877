"""A node remembers which packages user code imports; the next zygote imports them in advance, or says why it does
not."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.desk import Desk
from inrush import wire
from inrush.agent.templates.zygotes import MAX_IMPORTS, WORTH_MS, Learned
from inrush.core.images import layers
from inrush.wire import Status

PLACE = f"/opt/inrush/venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
USES = """
    import heavy
    def f(x):
        return heavy.HOME
"""


def uses(desk: Desk, package: str = "") -> wire.FunctionSpec:
    """A function in whose image a package is that takes long to import, and reads a variable."""
    lines = f"import os, time; time.sleep(0.05); HOME = os.environ.get('HF_HOME'); {package}"
    step = wire.Step(kind="run", args=(layers.encode("run", commands=[f'echo "{lines}" > {PLACE}/heavy.py']),))
    return desk.spec(USES, image=wire.Recipe(steps=(step,)))


async def start_until(desk: Desk, spec: wire.FunctionSpec, word: str, first: int = 0, **more: Any) -> str:
    """Starts containers until one says `word` of how it was started; its id."""
    for n in range(first, first + 60):
        ready = await desk.started(f"co-{n}", spec, **more)
        if word in ready.why:
            return ready.container
        desk.tell(wire.StopContainer(f"co-{n}", kill=True))
        await desk.ended(f"co-{n}")
        await asyncio.sleep(0.1)
    pytest.fail(f"no container was started with {word!r}")


async def test_what_a_container_imports_is_imported_ahead_for_the_next(desk: Desk) -> None:
    spec = uses(desk)
    id = await start_until(desk, spec, "heavy imported ahead")
    desk.run(id, "ca-1", 1)
    assert await desk.result("ca-1") == (Status.OK, None)
    note = await desk.hear(wire.NodeNote, lambda note: "imported ahead" in note.text)
    assert note.about == "fn-1"


async def test_a_variable_that_packages_read_makes_a_zygote_of_its_own(desk: Desk) -> None:
    spec = uses(desk)
    env = {"env": (("HF_HOME", "/models"),)}
    id = await start_until(desk, spec, "heavy imported ahead", **env)
    desk.run(id, "ca-1", 1)
    assert (await desk.result("ca-1"))[1] == "/models"
    other = await start_until(desk, spec, "heavy imported ahead", first=100)
    desk.run(other, "ca-2", 1)
    assert (await desk.result("ca-2"))[1] is None


async def test_a_package_that_leaves_a_thread_is_left_to_the_containers_and_named(desk: Desk) -> None:
    waits = "threading.Thread(target=threading.Event().wait, name='ticker', daemon=True).start()"
    spec = uses(desk, f"import threading; {waits}")
    await desk.started("co-1", spec)
    note = await desk.hear(wire.NodeNote, lambda note: "will not be imported ahead" in note.text)
    assert "heavy" in note.text
    assert "ticker" in note.text
    ready = await desk.started("co-2", spec)
    assert (ready.how, "ahead" in ready.why) == ("fork", False)


@pytest.mark.parametrize("node_settings", [{"learn_imports": False}])
async def test_nothing_is_imported_ahead_when_it_is_turned_off(desk: Desk) -> None:
    spec, folder = uses(desk), desk.home / "node" / "learned"
    known = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    for n in range(3):
        assert "ahead" not in (await desk.started(f"co-{n}", spec, app="unlearned")).why
        desk.run(f"co-{n}", f"ca-{n}", 1)
        assert await desk.result(f"ca-{n}") == (Status.OK, None)
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == known


async def test_memory_of_what_containers_were_forked_from_is_told_until_the_last_has_ended(desk: Desk) -> None:
    await desk.started("co-1", desk.spec("def f(x):\n    return x\n"))
    assert (await desk.hear(wire.NodeHeld)).memory_mib > 0
    desk.tell(wire.StopContainer("co-1", kill=True))
    await desk.hear(wire.NodeHeld, lambda held: held.memory_mib == 0)


def test_what_was_learned_is_there_after_a_restart_and_skips_are_kept(tmp_path: Path) -> None:
    learned = Learned(tmp_path)
    learned.add("zy-1", [("torch", 900.0), ("torch.nn", 5.0), ("numpy", 90.0), ("not a name", 1.0)])
    learned.skip("zy-1", {"torch": "it leaves a thread"})
    again = Learned(tmp_path)
    assert again.ahead("zy-1") == ("numpy",)
    assert again.ahead("zy-2") == ()


def test_what_takes_no_time_is_left_to_containers_and_the_number_of_imports_has_a_limit(tmp_path: Path) -> None:
    learned = Learned(tmp_path)
    learned.add("zy-1", [("quick", WORTH_MS - 1)])
    assert learned.ahead("zy-1") == ()
    learned.add("zy-1", [(f"m{n}", 10.0) for n in range(2 * MAX_IMPORTS)])
    assert len(learned.ahead("zy-1")) == MAX_IMPORTS
