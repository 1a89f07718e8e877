"""Ids are 128 random bits: knowing one does not help to guess another."""

from __future__ import annotations

import os
import re
from pathlib import Path

from inrush.client import _link
from inrush.core.cluster import Cluster
from inrush.core.model.state import State
from inrush.core.model.tuning import TUNING

SOURCES = Path(__file__).parents[2] / "src" / "inrush"


def test_ids_of_calls_have_nothing_in_common() -> None:
    ids = [_link.new_call() for _ in range(1000)]
    assert all(re.fullmatch(r"ca-[0-9a-f]{44}", id) for id in ids)
    assert len(set(ids)) == 1000
    assert len({id[15:23] for id in ids}) > 990, "after the time, not a base and a number"
    assert len({id[-8:] for id in ids}) > 990


def test_a_forked_process_draws_ids_of_its_own() -> None:
    _link.new_call()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, "".join(_link.new_call() for _ in range(40)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    theirs = os.read(read, 4096).decode()
    os.close(read)
    os.close(write)
    assert not [id for id in (_link.new_call() for _ in range(40)) if id in theirs]


def test_ids_of_containers_take_a_seed_that_nobody_is_told() -> None:
    state = State("seed", TUNING)
    ids = {state.container_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"co-[a-z2-7]{26}", id) for id in ids), "128 bits"
    assert State("seed", TUNING).container_id() in ids, "the simulator's are the same each time"
    assert State("other", TUNING).container_id() not in ids


async def test_the_seed_of_a_server_is_not_what_it_tells_clients(tmp_path: Path) -> None:
    from inrush import settings
    from inrush.server.control import ControlPlane

    control = ControlPlane(tmp_path, settings.load({}, {"INRUSH_HOME": str(tmp_path)}))
    core: Cluster = control.loop.core
    assert core.seed != control.boot
    assert len(bytes.fromhex(core.seed)) == 16


def test_no_id_is_made_of_fewer_bits() -> None:
    """Ids in the source are a prefix and drawn bytes."""
    drawn = [
        n
        for path in SOURCES.rglob("*.py")
        for n in re.findall(r'f"[a-z]{2}-\{[a-z]+\.token_hex\((\d+)\)', path.read_text())
    ]
    assert len(drawn) > 8
    assert set(drawn) == {"16"}
