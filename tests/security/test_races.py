"""Paths of orders that a server which was taken over changes while the launcher works with them: a directory of the
store and a link out of it change places as fast as that goes, and the launcher never works behind the link."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from inrush.launcher.client import LaunchError
from inrush.launcher.specs import Bind
from launcher.launched import UID_BASE, Node, make_layer, needs_root
from security.test_trees import swapping

pytestmark = needs_root

ROUNDS = 40
KINDS = ("remove", "measure", "normalise", "build", "layer", "bind")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_order_whose_path_is_swapped_for_a_link_changes_and_shows_nothing_outside(
    node: Node, tmp_path: Path, kind: str
) -> None:
    race, victim = node.state / "node" / "race", tmp_path / "victim"
    for top in (race / "x", victim):
        (top / "tree").mkdir(parents=True)
        (top / "upper").mkdir()
        make_layer(top / "layer")
    for name in ("tree", "layer"):
        (victim / name / "secret").write_text("the machine's")
    before = _seen(victim)
    carried_out = 0
    with swapping(race, victim):
        for number in range(ROUNDS):
            with contextlib.suppress(LaunchError, FileNotFoundError):
                assert "secret" not in await _order(node, kind, f"{race}/x", number)
                carried_out += 1
        assert _seen(victim) == before
    assert 0 < carried_out <= ROUNDS


async def _order(node: Node, kind: str, top: str, number: int) -> str:
    """Orders something of a directory of the race. Returns what a container has seen there."""
    launcher = node.launcher
    if kind == "remove":
        await launcher.remove_tree(f"{top}/tree")
    elif kind == "measure":
        assert await launcher.measure(f"{top}/tree") == 0
    elif kind == "normalise":
        with contextlib.suppress(FileExistsError):
            os.mkdir(f"{node.state}/node/race/up-{number}")
        await launcher.normalise(f"{node.state}/node/race/up-{number}", UID_BASE, f"{top}/made-{number}")
    elif kind == "build":
        await node.run("true", caps="build", root=node.root(upper=f"{top}/upper"))
    elif kind == "layer":
        return (await node.run("ls", "/", root=node.root(f"{top}/layer")))[1]
    else:
        return (await node.run("ls", "/mnt", root=node.root(binds=(Bind(f"{top}/tree", "/mnt"),))))[1]
    return ""


def _seen(top: Path) -> list[tuple[str, int, int]]:
    return [(str(path), path.lstat().st_mode, path.lstat().st_uid) for path in sorted(top.rglob("*"))]
