"""Zygotes and snapshots: how containers are forked from them, when they end, and how containers start without them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agent.desk import Desk
from deadline import DEADLINE_S
from inrush import wire
from inrush.wire import Status

ECHO = "def f(x):\n    return x\n"

MODEL = """
    import os, threading, time
    class Snap:
        enter = snap = True
        exit = False
    class M:
        def load(self):
            print("loading")
            self.token = os.urandom(8).hex()
            HOOK
        def get(self, x):
            return self.token, os.environ["INRUSH_CONTAINER_ID"]
    M.load.__inrush__ = Snap
"""


def model(desk: Desk, hook: str = "", **more: Any) -> wire.FunctionSpec:
    code = MODEL.replace("HOOK", hook)
    return desk.spec(code, "M", is_class=True, methods=("get",), snapshot=True, has_snap_hooks=True, **more)


async def token(desk: Desk, id: str) -> str:
    desk.run(id, f"ca-{id}", 1, method="get")
    status, value = await desk.result(f"ca-{id}")
    assert status == Status.OK, value
    assert value[1] == id
    return str(value[0])


async def test_containers_of_one_snapshot_share_what_its_hook_made(desk: Desk) -> None:
    spec = model(desk)
    assert [(await desk.started(f"co-{n}", spec)).how for n in range(3)] == ["snapshot"] * 3
    assert len({await token(desk, f"co-{n}") for n in range(3)}) == 1


async def test_what_a_snapshots_hook_prints_is_told_by_its_first_container(desk: Desk) -> None:
    spec = model(desk)
    await desk.started("co-1", spec)
    await desk.started("co-2", spec)
    told = [m.container for m in desk.said if isinstance(m, wire.ContainerLog) and "loading" in m.text]
    assert told == ["co-1"]


@pytest.mark.parametrize(
    "other",
    [{"env": (("A", "2"),)}, {"parameters": b'{"size":2}'}, {"app": "other"}],
    ids=["environment", "parameters", "app"],
)
async def test_another_environment_parameter_or_app_is_another_snapshot(desk: Desk, other: dict[str, Any]) -> None:
    spec = model(desk, parameters=(wire.Parameter(name="size", type="int"),))
    first: dict[str, Any] = {"env": (("A", "1"),), "parameters": b'{"size":1}'}
    await desk.started("co-1", spec, **first)
    await desk.started("co-2", spec, **{**first, **other})
    await desk.started("co-3", spec, **first)
    tokens = [await token(desk, f"co-{n}") for n in (1, 2, 3)]
    assert tokens[0] == tokens[2] != tokens[1]


async def test_changed_source_is_another_snapshot(desk: Desk) -> None:
    await desk.started("co-1", model(desk))
    await desk.started("co-2", model(desk, "self.more = 1"))
    assert await token(desk, "co-1") != await token(desk, "co-2")


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("threading.Thread(target=time.sleep, args=(3600,), name='busybody', daemon=True).start()", "busybody"),
        ("os.posix_spawn('/usr/bin/sleep', ['sleep', '3600'], {}) if os.getpid() > 1 else 0", "sleep"),
        (
            "import sys, types; sys.modules['torch'] = types.SimpleNamespace("
            "cuda=types.SimpleNamespace(is_initialized=lambda: True), manual_seed=id)",
            "CUDA has been touched",
        ),
    ],
    ids=["thread", "process", "cuda"],
)
async def test_what_cannot_be_forked_starts_plainly_and_the_reason_is_told_and_logged(
    desk: Desk, hook: str, said: str
) -> None:
    ready = await desk.started("co-1", model(desk, hook))
    assert (ready.how, said in ready.why) == ("fork", True)
    note = await desk.hear(wire.NodeNote)
    assert (note.about, said in note.text) == ("fn-1", True)
    await desk.hear(wire.ContainerLog, lambda log: log.container == "co-1" and said in log.text)
    await token(desk, "co-1")


async def test_a_failing_hook_is_the_startup_failure_of_the_plain_start(desk: Desk) -> None:
    desk.start("co-1", model(desk, "raise RuntimeError('weights are missing')"))
    end = await desk.ended("co-1")
    assert end.status == Status.STARTUP
    assert "weights are missing" in end.why


async def test_a_hook_that_kills_its_process_falls_back_too(desk: Desk) -> None:
    hook = "os.environ.get('INRUSH_CONTAINER_ID') or os._exit(3)"
    ready = await desk.started("co-1", model(desk, hook))
    assert ready.how == "fork"
    assert "snapshot" in ready.why


async def test_preparing_opens_the_snapshot_ahead(desk: Desk) -> None:
    spec = model(desk, "open('/tmp/made', 'w').write(str(time.time()))")
    desk.tell(wire.Prepare("fn-1", "app", spec))
    await desk.started("co-1", spec)
    first = await token(desk, "co-1")
    await desk.started("co-2", spec)
    assert await token(desk, "co-2") == first


@pytest.mark.parametrize("node_settings", [{"snapshot_memory_mib": 1, "zygote_ttl_s": 3600}])
async def test_over_the_memory_budget_templates_go_when_idle_and_come_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inrush.agent.templates.table.SWEEP_S", 0.05)
    await desk.started("co-1", model(desk))
    first = await token(desk, "co-1")
    await desk.started("co-2", desk.spec(ECHO), app="other")
    for n in range(3, 40):
        await desk.started(f"co-{n}", model(desk))
        if await token(desk, f"co-{n}") != first:
            return
        desk.tell(wire.StopContainer(f"co-{n}", kill=True))
        await desk.ended(f"co-{n}")
    pytest.fail("the snapshot stayed although it is over the budget")


def _templates_there(desk: Desk) -> int:
    """Zygotes and snapshots that live, or are on their way out; their forks, which keep their name, are not counted."""
    pids, found = [desk.handle.pid], 0
    while pids:
        pid = pids.pop()
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == "inrush-zygote":
                found += 1
            else:
                pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return found


@pytest.mark.parametrize("node_settings", [{"snapshot_memory_mib": 520, "learn_imports": False}])
async def test_over_the_memory_budget_the_least_used_goes_and_the_others_stay(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inrush.agent.templates.table.SWEEP_S", 0.05)
    often, once, last = (model(desk, f"self.name, self.held = {name!r}, b'x' * (180 << 20)") for name in "abc")
    specs, tokens = [often, often, once], []
    for n, spec in enumerate(specs):
        await desk.started(f"co-{n}", spec)
        tokens.append(await token(desk, f"co-{n}"))
        desk.tell(wire.StopContainer(f"co-{n}", kill=True))
        await desk.ended(f"co-{n}")
    assert _templates_there(desk) == 2
    await desk.started("co-3", last)
    desk.tell(wire.StopContainer("co-3", kill=True))
    await desk.ended("co-3")
    async with asyncio.timeout(DEADLINE_S):
        while _templates_there(desk) != 2:  # noqa: ASYNC110 (what is waited for knows nothing of events)
            await asyncio.sleep(0.05)
    await desk.started("co-4", often)
    await desk.started("co-5", once)
    assert tokens[0] == tokens[1] == await token(desk, "co-4")
    assert tokens[2] != await token(desk, "co-5")


@pytest.mark.parametrize("node_settings", [{"zygote_ttl_s": 0, "snapshot_ttl_s": 0}])
async def test_containers_outlive_the_template_that_they_were_forked_from(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inrush.agent.templates.table.SWEEP_S", 0.05)
    await desk.started("co-1", model(desk))
    first = await token(desk, "co-1")
    for n in range(2, 40):
        await desk.started(f"co-{n}", model(desk))
        if await token(desk, f"co-{n}") != first:
            break
    else:
        pytest.fail("the snapshot stayed although its time was over")
    desk.run("co-1", "ca-again", 1, method="get")
    assert (await desk.result("ca-again"))[1][0] == first


async def test_idle_templates_give_way_to_a_container_that_wants_their_memory(desk: Desk) -> None:
    await desk.started("co-1", model(desk))
    first = await token(desk, "co-1")
    desk.tell(wire.StopContainer("co-1", kill=True))
    await desk.ended("co-1")
    await desk.started("co-2", desk.spec(ECHO, resources=wire.Resources(memory_mib=10**7)), app="other")
    await desk.started("co-3", model(desk))
    assert await token(desk, "co-3") != first
