"""How inputs run: in order, concurrently, in threads and as tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from guest.guest_process import OK, GuestProcess, arguments, value

DOUBLE = "def f(x, plus=0):\n    return 2 * x + plus\n"


def test_a_function_gets_its_arguments_and_its_result_comes_back(guest: GuestProcess) -> None:
    guest.load(DOUBLE)
    assert guest.call(21) == 42
    assert guest.call(1, plus=5) == 7


def test_ready_tells_how_long_the_phases_took(guest: GuestProcess) -> None:
    guest.load(DOUBLE)
    header, _ = guest.expect("ready")
    assert [name for name, ms in header["phases"] if ms >= 0] == ["import"]


def test_many_inputs_of_a_map_are_answered_once_each_and_share_frames(guest: GuestProcess) -> None:
    guest.load(DOUBLE, max_inputs=8)
    guest.run("ca-1", *(arguments(n) for n in range(2000)))
    results = guest.all_results("ca-1", 2000)
    assert {index: value(payload) for index, (_, payload) in results.items()} == {n: 2 * n for n in range(2000)}
    outs = [header for header, _ in guest.frames if header["t"] == "out"]
    assert sum(len(header["i"]) for header in outs) == 2000
    assert len(outs) < 1000


def test_inputs_of_one_slot_run_one_behind_the_other_in_their_order(guest: GuestProcess) -> None:
    guest.load("seen = []\ndef f(x):\n    seen.append(x)\n    return list(seen)\n")
    guest.run("ca-1", *(arguments(n) for n in range(50)))
    assert value(guest.all_results("ca-1", 50)[49][1]) == list(range(50))


BARRIER = """
import threading
barrier = threading.Barrier(6)
def f(x):
    barrier.wait(60)
    return x
"""


def test_sync_inputs_run_side_by_side_up_to_the_limit(guest: GuestProcess) -> None:
    guest.load(BARRIER, max_inputs=6)
    guest.run("ca-1", *(arguments(n) for n in range(6)))
    assert [value(guest.result("ca-1", n)[1]) for n in range(6)] == list(range(6))


def test_inputs_that_come_one_by_one_run_side_by_side_too(guest: GuestProcess) -> None:
    guest.load(BARRIER, max_inputs=6)
    for n in range(6):
        guest.run("ca-1", arguments(n), first=n)
    assert len(guest.all_results("ca-1", 6)) == 6


def test_no_more_inputs_run_at_once_than_the_limit(guest: GuestProcess) -> None:
    source = """
import threading, time
now, most, lock = 0, 0, threading.Lock()
def f(x):
    global now, most
    with lock:
        now += 1
        most = max(most, now)
    time.sleep(0.01)
    with lock:
        now -= 1
    return most
"""
    guest.load(source, max_inputs=3)
    guest.run("ca-1", *(arguments(n) for n in range(60)))
    assert max(value(payload) for _, payload in guest.all_results("ca-1", 60).values()) == 3


def test_a_result_is_not_held_back_by_a_long_input_behind_it(guest: GuestProcess) -> None:
    source = "import threading\nopen_ = threading.Event()\ndef f(x):\n    x and open_.wait()\n    return x\n"
    guest.load(source)
    guest.run("ca-1", arguments(0), arguments(0), arguments(1))
    assert guest.result("ca-1", 1)[0] == OK


ASYNC_BARRIER = """
import asyncio
arrived, all_here = 0, None
async def f(x):
    global arrived, all_here
    all_here = all_here or asyncio.Event()
    arrived += 1
    if arrived == 6:
        all_here.set()
    await all_here.wait()
    return x
"""


def test_async_inputs_are_tasks_side_by_side(guest: GuestProcess) -> None:
    guest.load(ASYNC_BARRIER, max_inputs=6)
    guest.run("ca-1", *(arguments(n) for n in range(6)))
    assert [value(guest.result("ca-1", n)[1]) for n in range(6)] == list(range(6))


def test_async_inputs_keep_to_the_limit(guest: GuestProcess) -> None:
    source = """
import asyncio
now = most = 0
async def f(x):
    global now, most
    now += 1
    most = max(most, now)
    await asyncio.sleep(0.005)
    now -= 1
    return most
"""
    guest.load(source, max_inputs=2)
    guest.run("ca-1", *(arguments(n) for n in range(40)))
    assert max(value(payload) for _, payload in guest.all_results("ca-1", 40).values()) == 2


def test_sync_and_async_methods_share_the_slots(guest: GuestProcess) -> None:
    source = """
import asyncio, time
class C:
    now = 0
    most = 0
    def begin(self):
        self.now += 1
        self.most = max(self.most, self.now)
    def end(self):
        self.now -= 1
        return self.most
    def a(self, x):
        self.begin()
        time.sleep(0.003)
        return self.end()
    async def b(self, x):
        self.begin()
        await asyncio.sleep(0.003)
        return self.end()
"""
    guest.load(source, "C", is_class=True, methods=["a", "b"])
    for n in range(10):
        guest.run("ca-1", arguments(n), method="a", first=n)
        guest.run("ca-2", arguments(n), method="b", first=n)
    ends = [*guest.all_results("ca-1", 10).values(), *guest.all_results("ca-2", 10).values()]
    assert {value(payload) for _, payload in ends} == {1}


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_user_code_knows_its_call_and_input(guest: GuestProcess, keyword: str) -> None:
    source = f"""
from inrush.guest.attempt import current_call_id, current_input_id
{keyword} f():
    return current_call_id(), current_input_id()
"""
    guest.load(source)
    guest.run("ca-7", arguments(), first=3)
    assert value(guest.result("ca-7", 3)[1]) == ("ca-7", "ca-7:3")


def test_a_method_that_is_not_there_is_named_in_the_failure(guest: GuestProcess) -> None:
    guest.load("class C:\n    def a(self):\n        return 1\n", "C", is_class=True, methods=["a"])
    failed = guest.call(method="b")
    assert failed["code"] == "NotFoundError"
    assert "'b'" in failed["message"]
    assert "it has: a" in failed["message"]


def test_arguments_in_json_get_a_result_in_json(guest: GuestProcess) -> None:
    guest.load(DOUBLE)
    guest.run("ca-1", b'J[[4], {"plus": 1}]')
    assert guest.result("ca-1") == (OK, b"J9")


HELD = """
import os, time
def f(x, path=""):
    if path:
        open(path + "-is-begun", "w").close()
    while path and not os.path.exists(path):
        time.sleep(0.001)
    return x
"""


def test_what_has_not_begun_is_given_back_and_what_runs_is_not(guest: GuestProcess) -> None:
    guest.load(HELD)
    gate = guest.root / "gate"
    guest.run("ca-1", arguments(0), arguments(1, str(gate)), *(arguments(n) for n in range(2, 9)))
    guest.until(lambda: Path(f"{gate}-is-begun").exists() or None, "the begin of the second")
    guest.send({"t": "recall"})
    assert guest.expect("back")[0] == {"t": "back", "c": "ca-1", "i": list(range(2, 9))}
    gate.touch()
    guest.result("ca-1", 1)
    assert guest.call(5) == 5, "it takes others as before"
    assert sorted(guest.results("ca-1")) == [0, 1]


def test_a_guest_that_stops_gives_back_what_it_has_not_begun(guest: GuestProcess) -> None:
    guest.load(HELD)
    gate = guest.root / "gate"
    guest.run("ca-1", arguments(0), arguments(1, str(gate)), arguments(2), arguments(3))
    guest.until(lambda: Path(f"{gate}-is-begun").exists() or None, "the begin of the second")
    guest.send({"t": "stop", "grace": 20})
    assert guest.expect("back")[0]["i"] == [2, 3]
    gate.touch()
    assert guest.wait() == 0
    assert sorted(guest.results("ca-1")) == [0, 1]


def test_results_tell_how_long_their_inputs_ran_and_not_how_long_they_waited(guest: GuestProcess) -> None:
    guest.load("import time\ndef f(x):\n    time.sleep(x)\n")
    guest.run("ca-1", arguments(0.2), arguments(0.0))
    guest.all_results("ca-1", 2)
    outs = [header for header, _ in guest.frames if header["t"] == "out"]
    assert 200_000 <= sum(header["w"] for header in outs) < 400_000
