"""Processes that user code forks: each ends where the code of its user ends, and has nothing of the guest."""

from __future__ import annotations

import pickle

import pytest

from guest.guest_process import GuestProcess

ENDS = {
    "exits": ("sys.exit(3)", 3 << 8),
    "exits with words": ("sys.exit('no')", 1 << 8),
    "raises": ("raise ValueError('in the child')", 1 << 8),
    "returns": ("return 'from the child'", 0),
    "kills itself": ("os.kill(os.getpid(), 9)", 9),
}
FORK = """
import os, sys
def fork():
    if os.fork() == 0:
        {end}
    pid, status = os.wait()
    return status
"""
WAYS = {
    "function": ("def f():\n    return fork()\n", {}),
    "function of several slots": ("def f():\n    return fork()\n", {"max_inputs": 4}),
    "async function": ("async def f():\n    return fork()\n", {}),
    "wrapped": ("async def g():\n    return fork()\ndef f():\n    return g()\n", {}),
    "module": ("status = fork()\ndef f():\n    return status\n", {}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ENDS)
def test_a_child_ends_with_the_code_of_its_user(guest: GuestProcess, end: str, way: str) -> None:
    code, status = ENDS[end]
    source, spec = WAYS[way]
    guest.load(FORK.format(end=code) + source, **spec)
    assert guest.call() == status
    assert guest.call() == status


def test_a_child_of_a_generator_or_an_enter_hook_ends_too(guest: GuestProcess) -> None:
    source = """
from inrush.client._marks import enter
class C:
    @enter()
    def open(self):
        self.status = fork()
    def told(self):
        return self.status
    def many(self):
        yield fork()
"""
    guest.load(FORK.format(end="raise LookupError") + source, "C", is_class=True, methods=["told", "many"])
    assert guest.call(method="told") == 1 << 8
    guest.run("ca-g", b"P" + pickle.dumps(((), {})), method="many", kind="gen")
    guest.send({"t": "grant", "c": "ca-g", "i": 0, "x": 5})
    assert guest.expect_items("ca-g", 1) == [b"P" + pickle.dumps(256, 5)]


def test_what_a_child_raised_is_told_and_its_atexit_functions_run(guest: GuestProcess) -> None:
    source = """
import atexit, os
def f():
    if os.fork() == 0:
        atexit.register(print, "the child is done")
        raise LookupError("in the child")
    os.wait()
"""
    guest.load(source)
    assert guest.call() is None
    assert guest.stop() == 0
    said = guest.leftovers()
    assert "LookupError: in the child" in said
    assert "guest/" not in said
    assert said.count("the child is done") == 1


def test_a_grandchild_keeps_the_files_and_handlers_of_its_parent(guest: GuestProcess) -> None:
    source = """
import os, signal
def f(path):
    r, w = os.pipe()
    if os.fork() == 0:
        fds = [os.open(f"{path}/{i}", os.O_RDWR | os.O_CREAT) for i in range(9)]
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            live = set(map(int, os.listdir("/proc/self/fd")))
            handled = signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
            os.write(w, repr(([fd for fd in fds if fd not in live], handled)).encode())
            os._exit(0)
        os.wait()
        os._exit(0)
    os.wait()
    return os.read(r, 99)
"""
    guest.load(source)
    assert guest.call(str(guest.root)) == b"([], True)"
