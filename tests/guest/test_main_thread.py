"""Async code runs in the main thread, and so does sync code of one slot; what is async only when called is awaited."""

from __future__ import annotations

import pickle

import pytest

from guest.guest_process import CANCELLED, OK, GuestProcess, arguments, value

MIXED = """
import asyncio, signal, threading
from inrush.client._marks import enter, exit
def here():
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # Python lets only the main thread do so
    return threading.current_thread() is threading.main_thread()
class C:
    @enter()
    async def open(self):
        here()
        self.ticks = 0
        self.ticking = asyncio.ensure_future(self.tick())
    async def tick(self):
        while True:
            self.ticks += 1
            await asyncio.sleep(0.005)
    async def wait(self):
        return here()
    def block(self):
        asyncio.run(asyncio.sleep(0))  # no loop runs in sync code
        return here()
    async def many(self):
        yield here()
    def count(self):
        return self.ticks
    @exit()
    async def close(self):
        print("closed", here())
"""


def test_sync_and_async_methods_of_one_slot_run_in_the_main_thread_in_turn(guest: GuestProcess) -> None:
    guest.load(MIXED, "C", is_class=True, methods=["wait", "block", "many", "count"])
    for _ in range(3):
        assert guest.call(method="wait") is True
        assert guest.call(method="block") is True
    guest.run("ca-g", arguments(), method="many", kind="gen")
    guest.send({"t": "grant", "c": "ca-g", "i": 0, "x": 5})
    assert [value(item) for item in guest.expect_items("ca-g", 1)] == [True]
    before = guest.call(method="count")
    guest.until(lambda: True if guest.call(method="count") > before + 3 else None, "background tasks go on")
    assert guest.stop() == 0
    assert guest.logs().endswith("closed True\n")


def test_async_inputs_of_several_slots_are_not_held_up_by_sync_ones(guest: GuestProcess) -> None:
    source = """
import threading
go = threading.Event()
class C:
    def block(self):
        return go.wait(60)
    async def free(self):
        go.set()
        return threading.current_thread() is threading.main_thread()
"""
    guest.load(source, "C", is_class=True, methods=["block", "free"], max_inputs=2)
    guest.run("ca-1", arguments(), method="block")
    assert guest.call(method="free") is True
    assert value(guest.result("ca-1")[1]) is True


WRAPPED = """
import asyncio, functools
def deco(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper
@deco
async def wrapped(x):
    await asyncio.sleep(0)
    return x
class Object:
    async def __call__(self, x):
        return await wrapped(x)
called = Object()
part = functools.partial(deco(wrapped), 5)
class Own:
    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return "own"
def own():
    return Own()
def plain():
    return asyncio.run(wrapped(8))
class C:
    wrapped, called, part = map(staticmethod, (wrapped, called, part))
    own, plain = map(staticmethod, (own, plain))
    def method(self, x):
        return wrapped(x)
"""


@pytest.mark.parametrize("slots", [1, 3])
def test_what_is_async_only_when_called_is_awaited(guest: GuestProcess, slots: int) -> None:
    methods = ["wrapped", "called", "part", "own", "plain", "method"]
    guest.load(WRAPPED, "C", is_class=True, methods=methods, max_inputs=slots)
    assert guest.call(1, method="wrapped") == 1
    assert guest.call(2, method="called") == 2
    assert guest.call(method="part") == 5
    assert guest.call(method="own") == "own"
    assert guest.call(method="plain") == 8
    assert guest.call(3, method="method") == 3


@pytest.mark.parametrize("slots", [1, 3])
def test_a_wrapped_async_generator_yields(guest: GuestProcess, slots: int) -> None:
    guest.load(
        "async def g():\n    yield 1\n    yield 2\ndef f():\n    return g()\n",
        max_inputs=slots,
    )
    guest.run("ca-g", arguments(), kind="gen")
    guest.send({"t": "grant", "c": "ca-g", "i": 0, "x": 5})
    assert guest.expect_items("ca-g", 2) == [b"P" + pickle.dumps(n, 5) for n in (1, 2)]


@pytest.mark.parametrize("slots", [1, 3])
def test_a_wrapped_async_function_is_cancelled_as_a_task(guest: GuestProcess, slots: int) -> None:
    source = """
import asyncio
async def g():
    try:
        print("in", flush=True)
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        print("cancelled")
        raise
def f():
    return g()
"""
    guest.load(source, max_inputs=slots)
    guest.run("ca-1", arguments())
    guest.expect_log("in")
    guest.send({"t": "cancel", "c": "ca-1", "i": [0]})
    assert guest.result("ca-1")[0] == CANCELLED
    guest.expect_log("cancelled")


def test_a_task_that_exits_ends_itself_alone(guest: GuestProcess) -> None:
    source = """
import asyncio, sys
async def leave():
    sys.exit(4)
tasks = []
async def f(go):
    if go:
        tasks.append(asyncio.ensure_future(leave()))
        await asyncio.sleep(0)
    return "here"
"""
    guest.load(source)
    guest.run("ca-1", arguments(True))
    assert guest.result("ca-1")[0] == OK
    assert guest.call(False) == "here"
