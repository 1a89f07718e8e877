"""The life of containers from the order to their end, on a real launcher."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest

from agent.desk import Desk
from inrush import wire
from inrush.core.images import layers
from inrush.wire import Status

ECHO = """
    import os, time
    def f(x):
        return x, os.environ["INRUSH_CONTAINER_ID"]
"""


async def test_a_container_starts_runs_inputs_and_stops(desk: Desk) -> None:
    ready = await desk.started("co-1", desk.spec(ECHO))
    assert ready.how == "fork"
    assert dict(ready.phases_ms)["import"] > 0
    assert [name for name, _ in ready.phases_ms[:3]] == ["prepare", "mount", "fork"]
    assert sum(ms for _, ms in ready.phases_ms) <= ready.start_ms
    desk.run("co-1", "ca-1", "a", "b")
    assert await desk.result("ca-1", 0) == (Status.OK, ("a", "co-1"))
    assert await desk.result("ca-1", 1) == (Status.OK, ("b", "co-1"))
    desk.tell(wire.StopContainer("co-1", grace_s=5.0))
    end = await desk.ended("co-1")
    assert (end.status, end.payload) == (Status.OK, b"")


@pytest.fixture
def without_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INRUSH_WITHOUT", "templates")


async def test_where_nothing_can_be_forked_an_interpreter_is_executed_which_finds_the_same(
    without_templates: None, desk: Desk
) -> None:
    code = """
        import os, sys, cloudpickle, inrush
        def f(x):
            return os.getcwd(), sys.path, x, sys.stdin.read(), sorted(os.environ)
    """
    ready = await desk.started("co-1", desk.spec(code))
    assert ready.how == "exec"
    assert "templates are switched off by INRUSH_WITHOUT" in ready.why
    desk.run("co-1", "ca-1", "a")
    status, (cwd, path, argument, stdin, names) = await desk.result("ca-1")
    assert (status, cwd, argument, stdin) == (Status.OK, "/root", "a", "")
    assert path[:2] == ["/root", "/opt/inrush/lib"]
    assert path[-1] == "/opt/inrush/deps"
    assert {"INRUSH_CONTAINER_ID", "INRUSH_IS_REMOTE", "PATH"} <= set(names)


async def test_the_end_is_said_once_and_last_whatever_ends_it(desk: Desk) -> None:
    spec = desk.spec("import os, time\ndef f(x):\n    time.sleep(x)\n    os._exit(3)\n")
    await desk.started("co-1", spec)
    desk.run("co-1", "ca-1", 0.0)
    desk.tell(wire.StopContainer("co-1", kill=True), wire.StopContainer("co-1"))
    await desk.ended("co-1")
    await desk.started("co-2", spec)
    desk.run("co-2", "ca-2", 0.0)
    end = await desk.ended("co-2")
    assert end.status == Status.CRASHED
    assert "status 3" in end.why
    assert b"ExecutionError" in end.payload
    assert (desk.ends("co-1"), desk.ends("co-2")) == (1, 1)
    assert desk.said.index(end) == max(n for n, m in enumerate(desk.said) if getattr(m, "container", "") == "co-2")


async def test_a_container_stopped_while_it_starts_ends_and_leaves_no_process(desk: Desk) -> None:
    spec = desk.spec("import time\ntime.sleep(600)\ndef f(x): pass\n")
    for n in range(3):
        desk.start(f"co-{n}", spec)
        await asyncio.sleep(0.05 * n)
        desk.tell(wire.StopContainer(f"co-{n}"))
    for n in range(3):
        assert (await desk.ended(f"co-{n}")).status == Status.OK


async def test_a_container_stopped_in_the_turn_that_starts_it_ends_too(desk: Desk) -> None:
    spec = desk.spec(ECHO)
    desk.tell(
        wire.StartContainer("co-1", "fn-1", "app", spec),
        wire.StopContainer("co-1"),
        wire.StartContainer("co-2", "fn-1", "app", spec),
        wire.StopContainer("co-2", kill=True),
        wire.StopContainer("co-2", kill=True),
    )
    for id in ("co-1", "co-2"):
        end = await desk.ended(id)
        assert (end.status, desk.ends(id)) == (Status.OK, 1)
    assert await desk.lists() == ()


@pytest.mark.parametrize("seed", range(3))
async def test_every_start_ends_in_one_report_whenever_it_is_stopped(desk: Desk, seed: int) -> None:
    chance = random.Random(seed)
    spec = desk.spec(ECHO)
    await desk.started("co-first", spec)

    async def one(id: str) -> None:
        await asyncio.sleep(chance.uniform(0, 0.3))
        desk.start(id, spec)
        for _ in range(chance.randint(1, 3)):
            await asyncio.sleep(chance.choice((0.0, 0.0, chance.uniform(0, 0.1))))
            desk.tell(wire.StopContainer(id, grace_s=0.0, kill=chance.random() < 0.5))

    ids = [f"co-{n}" for n in range(20)]
    await asyncio.gather(*map(one, ids))
    for id in ids:
        await desk.ended(id)
    assert await desk.lists() == ("co-first",)
    assert [desk.ends(id) for id in ids] == [1] * len(ids)


async def test_an_order_that_cannot_be_carried_out_ends_its_container(desk: Desk) -> None:
    await desk.started("co-1", desk.spec(ECHO))
    desk.tell(wire.Run("co-1", "ca-1", "", "map", (0,), ("no bytes",)))  # type: ignore[arg-type]
    end = await desk.ended("co-1")
    assert end.status == Status.INTERNAL
    desk.tell(wire.StartContainer("co-2", "fn-1", "app", None))  # type: ignore[arg-type]
    assert (await desk.ended("co-2")).status == Status.LOST


async def test_a_start_that_takes_too_long_is_a_startup_failure(desk: Desk) -> None:
    spec = desk.spec("import time\ntime.sleep(600)\ndef f(x): pass\n", startup_timeout_s=1.0)
    desk.start("co-1", spec)
    end = await desk.ended("co-1")
    assert end.status == Status.STARTUP
    assert "startup_timeout" in end.why


async def test_a_module_that_fails_to_import_is_a_startup_failure_with_its_error(desk: Desk) -> None:
    desk.start("co-1", desk.spec("import nowhere_to_be_found\n"))
    end = await desk.ended("co-1")
    assert end.status == Status.STARTUP
    assert "nowhere_to_be_found" in end.why
    assert b"nowhere_to_be_found" in end.payload


async def test_going_over_the_memory_limit_is_told_as_that(desk: Desk) -> None:
    spec = desk.spec(
        "def f(x):\n    return len([bytearray(1 << 20) for _ in range(4096)])\n",
        resources=wire.Resources(memory_limit_mib=200),
    )
    await desk.started("co-1", spec)
    desk.run("co-1", "ca-1", 1)
    end = await desk.ended("co-1")
    assert end.status == Status.OUT_OF_MEMORY
    assert "200 MiB" in end.why


async def test_a_guest_that_cannot_be_interrupted_is_answered_for_and_killed(desk: Desk) -> None:
    code = "import ctypes\ndef f(x):\n    ctypes.PyDLL(None).sleep(600)\n"
    await desk.started("co-1", desk.spec(code, timeout_s=1.0))
    desk.run("co-1", "ca-1", 1)
    status, payload = await desk.result("ca-1")
    assert status == Status.TIMEOUT
    assert b"FunctionTimeoutError" in payload
    assert (await desk.ended("co-1")).status == Status.LOST


async def test_running_inputs_may_end_within_the_grace_and_exit_hooks_run_after_them(desk: Desk) -> None:
    code = """
        import time
        class C:
            def m(self, x):
                print("begun")
                time.sleep(x)
                return "done"
            def bye(self):
                print("bye")
        class Mark:
            enter = snap = False
            exit = True
        C.bye.__inrush__ = Mark
    """
    await desk.started("co-1", desk.spec(code, "C", is_class=True, methods=("m",)))
    desk.run("co-1", "ca-1", 1.0, method="m")
    await desk.hear(wire.ContainerLog, lambda log: "begun" in log.text)
    desk.tell(wire.StopContainer("co-1", grace_s=20.0))
    assert await desk.result("ca-1") == (Status.OK, "done")
    await desk.hear(wire.ContainerLog, lambda log: "bye" in log.text)
    assert (await desk.ended("co-1")).status == Status.OK


async def test_cancelled_inputs_end_as_cancelled(desk: Desk) -> None:
    await desk.started("co-1", desk.spec("import time\ndef f(x):\n    time.sleep(600)\n"))
    desk.run("co-1", "ca-1", 1)
    desk.tell(wire.CancelRun("co-1", "ca-1", (0,)))
    status, _ = await desk.result("ca-1")
    assert status == Status.CANCELLED


async def test_many_containers_of_one_function_start_at_once_from_one_zygote(desk: Desk) -> None:
    spec = desk.spec(ECHO)
    for n in range(12):
        desk.start(f"co-{n}", spec)
    for n in range(12):
        ready = await desk.hear(wire.ContainerReady, lambda ready, n=n: ready.container == f"co-{n}")  # type: ignore[misc]
        assert ready.how == "fork"
    for n in range(12):
        desk.run(f"co-{n}", f"ca-{n}", n)
    for n in range(12):
        assert await desk.result(f"ca-{n}") == (Status.OK, (n, f"co-{n}"))


async def test_containers_see_their_cards_and_nothing_of_the_node(desk: Desk) -> None:
    code = """
        import os
        def f(x):
            status = dict(line.split(":", 1) for line in open("/proc/self/status"))
            seen = {name: status[name].strip() for name in ("CapEff", "NoNewPrivs", "Seccomp")}
            return seen, os.environ["CUDA_VISIBLE_DEVICES"], os.path.exists(x), sorted(os.environ)
    """
    await desk.started("co-1", desk.spec(code), gpus=(1, 3), gpu_type="A10G", env=(("MINE", "1"),))
    desk.run("co-1", "ca-1", str(desk.home))
    _, (status, cards, sees_home, names) = await desk.result("ca-1")
    assert status == {"CapEff": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2"}
    assert cards == "1,3"
    assert not sees_home
    assert "MINE" in names
    assert not {"INRUSH_HOME", "INRUSH_TOKEN", "VIRTUAL_ENV"} & set(names)


async def test_when_the_launcher_dies_all_containers_are_lost_and_it_is_said(desk: Desk) -> None:
    await desk.started("co-1", desk.spec(ECHO))
    children = Path(f"/proc/{desk.handle.pid}/task/{desk.handle.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    assert (await desk.ended("co-1")).status == Status.LOST
    assert "launcher" in desk.lost[0]


@pytest.mark.parametrize("node_settings", [{"isolation": "process"}])
async def test_without_isolation_functions_run_as_plain_processes_with_a_loud_warning(desk: Desk) -> None:
    ready = await desk.started("co-1", desk.spec(ECHO))
    assert ready.how == "process"
    note = await desk.hear(wire.NodeNote)
    assert "without any isolation" in note.text
    desk.run("co-1", "ca-1", "a")
    assert await desk.result("ca-1") == (Status.OK, ("a", "co-1"))
    desk.tell(wire.StopContainer("co-1", kill=True))
    assert (await desk.ended("co-1")).status == Status.OK


async def test_where_no_template_can_be_forked_from_a_fresh_interpreter_is_executed(desk: Desk) -> None:
    line = "import threading, time; threading.Thread(target=time.sleep, args=(9999,), daemon=True).start()"
    place = "$(python3 -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))')"
    step = wire.Step(kind="run", args=(layers.encode("run", commands=[f'echo "{line}" > {place}/busy.pth']),))
    code = """
        import subprocess, sys
        def f(x):
            child = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True)
            return sys.stdin.read(), child.stdout, child.stderr
    """
    ready = await desk.started("co-1", desk.spec(code, image=wire.Recipe(steps=(step,))))
    assert ready.how == "exec"
    assert "threads" in ready.why
    desk.run("co-1", "ca-1", 1)
    assert await desk.result("ca-1") == (Status.OK, ("", "42\n", ""))
    desk.tell(wire.StopContainer("co-1", grace_s=1.0))
    assert (await desk.ended("co-1")).status == Status.OK
