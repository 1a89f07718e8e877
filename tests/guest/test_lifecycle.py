"""How a guest ends: by its agent's order, by a signal, or by user code; and what it does before."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from guest.guest_process import CANCELLED, OK, GuestProcess, arguments, value

CLASS = """
import threading, time
from inrush.client._marks import exit
go = threading.Event()
class C:
    @exit()
    def close(self):
        print("closing")
        raise RuntimeError("in the hook")
    @exit()
    async def close_too(self):
        print("closing too")
    def wait(self):
        print("waiting")
        time.sleep(0.2)
        return "done"
    def stay(self):
        print("staying")
        time.sleep(1000)
"""


def loaded(guest: GuestProcess) -> GuestProcess:
    return guest.load(CLASS, "C", is_class=True, methods=["wait", "stay"], max_inputs=1)


def test_stop_lets_running_inputs_end_and_runs_every_exit_hook(guest: GuestProcess) -> None:
    loaded(guest).run("ca-1", arguments(), method="wait")
    guest.expect_log("waiting")
    assert guest.stop(grace=20) == 0
    assert value(guest.result("ca-1")[1]) == "done"
    assert guest.logs() == "waiting\nclosing\nclosing too\n"
    assert "RuntimeError: in the hook" in guest.logs("stderr")
    assert "guest/load.py" not in guest.logs("stderr")


def test_an_input_that_outlives_the_grace_is_cancelled_and_the_hooks_run(guest: GuestProcess) -> None:
    loaded(guest).run("ca-1", arguments(), method="stay")
    guest.expect_log("staying")
    assert guest.stop(grace=0.1) == 0
    assert guest.result("ca-1")[0] == CANCELLED
    assert "closing too" in guest.logs()


def test_an_idle_guest_stops_at_once(guest: GuestProcess) -> None:
    assert loaded(guest).stop(grace=600) == 0
    assert guest.logs() == "closing\nclosing too\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_as_stop_does(guest: GuestProcess, number: signal.Signals) -> None:
    loaded(guest).run("ca-1", arguments(), method="wait")
    guest.expect_log("waiting")
    guest.process.send_signal(number)
    assert guest.wait() == 0
    assert guest.result("ca-1")[0] == OK
    assert "closing too" in guest.logs()


def test_functions_registered_with_atexit_run(guest: GuestProcess) -> None:
    guest.load("import atexit\natexit.register(print, 'at the very end')\ndef f():\n    pass\n")
    assert guest.stop() == 0
    assert guest.logs() == "at the very end\n"


def test_an_exit_hook_that_calls_sys_exit_does_not_keep_the_next_from_running(guest: GuestProcess) -> None:
    source = """
import sys
from inrush.client._marks import exit
class C:
    @exit()
    def first(self):
        sys.exit(9)
    @exit()
    def second(self):
        print("second")
"""
    guest.load(source, "C", is_class=True)
    assert guest.stop() == 0
    assert guest.logs() == "second\n"


def test_stop_while_it_loads_ends_it(guest: GuestProcess) -> None:
    guest.begin("import time\nprint('loading')\ntime.sleep(1000)\ndef f(): pass\n")
    guest.expect_log("loading")
    assert guest.stop() == 0


def test_user_code_may_use_signals_and_its_own_loops(guest: GuestProcess) -> None:
    source = """
import asyncio, signal
async def inner():
    process = await asyncio.create_subprocess_exec("true")
    return await process.wait()
def f():
    got = []
    signal.signal(signal.SIGALRM, lambda *_: got.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    signal.pause()
    return got, asyncio.run(inner())
"""
    guest.load(source)
    assert guest.call() == ([1], 0)


TUNED = """
import runpy, sys
from inrush.guest import orphans, process
{settings}
sys.argv = ["inrush.guest", sys.argv[1]]
runpy.run_module("inrush.guest", run_name="__main__")
"""


def tuned(root: Path, settings: str, *before: str) -> GuestProcess:
    """A guest with shorter times than those that people wait for."""
    return GuestProcess(root, [*before, sys.executable, "-c", TUNED.format(settings=settings)])


def test_exit_hooks_that_do_not_end_are_cut_off(tmp_path: Path) -> None:
    source = """
import time
from inrush.client._marks import exit
class C:
    @exit()
    def close(self):
        print("closing", flush=True)
        time.sleep(1000)
"""
    guest = tuned(tmp_path, "import inrush.guest.main as main\nmain.EXIT_HOOKS_S = 0.3")
    try:
        guest.load(source, "C", is_class=True)
        assert guest.stop() == 3
        assert guest.logs() == "closing\n"
    finally:
        guest.close()


ORPHANS = """
import os, subprocess, sys, time
from pathlib import Path
def f():
    # a child whose own child outlives it: that one becomes an orphan of pid 1
    subprocess.run([sys.executable, "-c", "import os; os.fork() or os.execlp('sleep', 'sleep', '0.05')"])
    mine.append(subprocess.Popen(["false"]))
    while zombies() < 2:
        time.sleep(0.005)
    return os.getpid()
def ends():
    return [child.poll() for child in mine]
mine = []
def zombies():
    stats = [p.read_text().rpartition(")")[2].split() for p in Path("/proc").glob("[0-9]*/stat")]
    return sum(1 for state, parent, *_ in stats if state == "Z" and parent == "1")
class C:
    f = staticmethod(f)
    ends = staticmethod(ends)
    zombies = staticmethod(zombies)
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root to make a pid namespace")
def test_as_pid_1_it_reaps_orphans_and_leaves_the_children_of_user_code_to_it(tmp_path: Path) -> None:
    namespace = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    guest = tuned(tmp_path, "orphans.REAP_EVERY_S = 0.2", *namespace)
    try:
        guest.load(ORPHANS, "C", is_class=True, methods=["f", "ends", "zombies"])
        assert guest.call(method="f") == 1
        guest.until(lambda: True if guest.call(method="zombies") == 1 else None, "the orphan's end")
        assert guest.call(method="ends") == [1]
    finally:
        guest.close()


def test_a_signal_is_heard_while_the_main_thread_is_in_native_code(tmp_path: Path) -> None:
    source = """
import ctypes
libc = ctypes.CDLL(None)
def f():
    print("in", flush=True)
    while True:
        libc.sleep(1000)
"""
    guest = tuned(tmp_path, "process.TERM_GRACE_S = 0.1")
    try:
        guest.load(source)
        guest.run("ca-1", arguments())
        guest.expect_log("in")
        guest.process.send_signal(signal.SIGTERM)
        assert guest.wait() in (0, 3)
    finally:
        guest.close()


def test_a_frame_that_cannot_be_understood_ends_the_guest_with_a_reason(guest: GuestProcess) -> None:
    guest.load("def f():\n    pass\n")
    guest.send({"t": "run", "c": "ca-1"})
    assert guest.wait() == 2
    assert "run with other fields" in guest.leftovers()


def test_signals_that_the_server_ignores_are_not_ignored_in_containers(tmp_path: Path) -> None:
    ignoring = ("sh", "-c", 'trap "" HUP QUIT; exec "$@"', "sh")
    for number in (signal.SIGHUP, signal.SIGQUIT):
        guest = tuned(tmp_path, "", *ignoring)
        try:
            guest.load("import os, time\ndef f(n):\n    os.kill(os.getpid(), n)\n    time.sleep(60)\n")
            guest.run("ca-1", arguments(int(number)))
            assert guest.wait() == -number
        finally:
            guest.close()
