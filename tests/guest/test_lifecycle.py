"""How a guest ends: told by its agent, by a signal, or by user code; and what it does on the way."""

from __future__ import annotations

import signal

import pytest
from guest_process import CANCELLED, OK, GuestProcess, arguments, value

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
