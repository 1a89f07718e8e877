"""A node that cannot start containers for reasons of its own: it says so, and what waits is not failed for it."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from typing import Any

import pytest

from agent.desk import Desk
from inrush import wire
from inrush.core.images import layers
from inrush.linux import descriptors
from inrush.wire import Status

ECHO = "def f(x):\n    return x\n"


@pytest.fixture
def few_descriptors() -> Iterator[Any]:
    """Called where this process shall have no descriptors left."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 1, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_node_without_descriptors_says_so_and_fails_no_input(desk: Desk, few_descriptors: Any) -> None:
    spec = desk.spec(ECHO)
    await desk.started("co-1", spec)
    few_descriptors()
    desk.start("co-2", spec)
    end = await desk.ended("co-2")
    state = await desk.hear(wire.NodeState, lambda state: bool(state.unfit))
    assert end.status == Status.LOST
    assert "Too many open files" in end.why
    assert "files open" in state.unfit
    assert desk.said.index(state) < desk.said.index(end), "the server has to know before it looks for another place"


class TestOnAFullDisk:
    @pytest.fixture
    def node_settings(self) -> dict[str, Any]:
        return {"reserve_disk_mib": 1 << 40}

    async def test_an_image_that_is_not_there_yet_waits(self, desk: Desk) -> None:
        step = wire.Step("run", args=(layers.encode("run", commands=["echo once > /once"]),))
        recipe = wire.Recipe(steps=(step,))
        desk.start("co-1", desk.spec(ECHO, image=recipe))
        end = await desk.ended("co-1")
        assert end.status == Status.LOST
        assert "is full" in end.why
        assert "reserve_disk_mib" in (await desk.hear(wire.NodeState, lambda state: bool(state.unfit))).unfit


def test_a_low_limit_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "limit", lambda: 1024)
    assert "1,024 files open" in descriptors.too_low()
    assert "LimitNOFILE=" in descriptors.too_low()
    monkeypatch.setattr(descriptors, "limit", lambda: descriptors.ENOUGH)
    assert descriptors.too_low() == ""
