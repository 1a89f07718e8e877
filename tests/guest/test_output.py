"""Output of user code is tagged and bounded, and is not lost whatever user code does to its streams."""

from __future__ import annotations

import time

import pytest

from deadline import DEADLINE_S
from guest.guest_process import GuestProcess, arguments, value
from inrush.lines import is_drawing


def test_lines_are_tagged_with_their_call(guest: GuestProcess) -> None:
    guest.load("import sys\ndef f(x):\n    print('out', x)\n    print('err', x, file=sys.stderr)\n")
    guest.run("ca-1", arguments(1))
    guest.run("ca-2", arguments(2))
    guest.expect_log("out 1\n", call="ca-1")
    guest.expect_log("out 2\n", call="ca-2")
    guest.expect_log("err 2\n", "stderr", "ca-2")


def test_output_comes_before_the_result_of_its_input(guest: GuestProcess) -> None:
    guest.load("import sys\ndef f(x):\n    print(x)\n    sys.stdout.write('no newline')\n")
    guest.call(5)
    assert guest.logs() == "5\nno newline"


def test_lines_of_inputs_that_print_at_once_do_not_mix(guest: GuestProcess) -> None:
    source = """
import sys, threading
barrier = threading.Barrier(4)
def f(x):
    barrier.wait(60)
    for _ in range(200):
        for part in (str(x) * 5, "-", str(x) * 5, "\\n"):
            sys.stdout.write(part)
"""
    guest.load(source, max_inputs=4)
    guest.run("ca-1", *(arguments(n) for n in range(4)))
    guest.all_results("ca-1", 4)
    lines = guest.logs().splitlines()
    assert len(lines) == 800
    assert set(lines) == {f"{str(n) * 5}-{str(n) * 5}" for n in range(4)}


def test_threads_of_user_code_print_untagged(guest: GuestProcess) -> None:
    source = """
import threading
def f():
    t = threading.Thread(target=print, args=("from a thread",))
    t.start()
    t.join()
"""
    guest.load(source)
    guest.call()
    guest.expect_log("from a thread\n", call="")


def test_what_a_background_thread_prints_between_inputs_leaves(guest: GuestProcess) -> None:
    source = """
import threading, time
def tell():
    for n in range(5):
        print("tick", n)
        time.sleep(0.02)
threading.Thread(target=tell, daemon=True).start()
def f():
    pass
"""
    guest.load(source)
    guest.expect_log("tick 4\n")


def test_closing_stdout_does_not_silence_the_next_input(guest: GuestProcess) -> None:
    source = """
import os, sys
def f(x):
    print("before", x)
    sys.stdout.close()
    os.close(1)
    print("after", x)
"""
    guest.load(source)
    guest.call(1)
    assert isinstance(guest.call(2)[0], OSError)
    assert guest.logs() == "before 1\nafter 1\nbefore 2\n"


def test_a_part_of_a_line_leaves_when_flushed(guest: GuestProcess) -> None:
    source = "import threading\ndef f():\n    print('50 %', end='\\r', flush=True)\n    threading.Event().wait(20)\n"
    guest.load(source)
    guest.run("ca-1", arguments())
    guest.expect_log("\r50 %", call="ca-1")


def test_bytes_written_to_the_buffer_are_output(guest: GuestProcess) -> None:
    guest.load("import sys\ndef f():\n    sys.stdout.buffer.write('größer\\n'.encode())\n")
    guest.call()
    assert guest.logs() == "größer\n"


def test_subprocesses_and_native_code_write_to_the_descriptors(guest: GuestProcess) -> None:
    source = """
import os, subprocess, sys
def f():
    subprocess.run(["echo", "child"], stdout=sys.stdout)
    os.write(1, b"native")
"""
    guest.load(source)
    guest.call()
    guest.stop()
    assert guest.leftovers() == "child\nnative"


def test_a_hundred_megabytes_of_output_arrive_in_little_memory(guest: GuestProcess) -> None:
    source = """
import resource
def f(x):
    if x:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(100):
            print(("y" * 99 + "\\n") * 10_000, end="")
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
"""
    guest.load(source)
    guest.call(0)
    guest.run("ca-1", arguments(1))
    received = 0

    def counted() -> bool | None:
        nonlocal received
        logs = [f for f in guest.frames if f[0]["t"] == "log"]
        received += sum(len(payloads[0]) for _, payloads in logs)
        guest.frames[:] = [f for f in guest.frames if f[0]["t"] != "log"]
        return True if 0 in guest.results("ca-1") else None

    guest.until(counted, "the end of the flood", 120)
    assert received == 100 * 1_000_000
    assert value(guest.result("ca-1")[1]) < 32 * 1024


def test_output_is_held_back_while_the_agent_does_not_read(guest: GuestProcess) -> None:
    source = """
import resource, threading
printed = 0
def flood():
    global printed
    while True:
        print("z" * 9999)
        printed += 1
threading.Thread(target=flood, daemon=True).start()
def f():
    return printed
"""
    guest.load(source, max_inputs=2)
    first = guest.call()
    assert first * 10_000 < 1 << 30
    status = (f"/proc/{guest.process.pid}/status", "VmRSS")
    before = rss_kib(*status)
    wait_until_held_back(guest)
    assert rss_kib(*status) - before < 32 * 1024
    assert guest.call() > first


def rss_kib(path: str, field: str) -> int:
    with open(path) as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field))


def wait_until_held_back(guest: GuestProcess) -> None:
    """Leave the socket unread until the guest's CPU time stands still."""

    def cpu() -> int:
        with open(f"/proc/{guest.process.pid}/stat") as stat:
            return sum(map(int, stat.read().rpartition(")")[2].split()[11:13]))

    deadline = time.monotonic() + DEADLINE_S
    same, last = 0, -1
    while same < 5:
        assert time.monotonic() < deadline, "the guest is not held back"
        time.sleep(0.1)
        now = cpu()
        same = same + 1 if now == last else 0
        last = now


def test_os_exit_loses_nothing_that_was_printed(guest: GuestProcess) -> None:
    guest.load("import os\ndef f():\n    print('last words')\n    print('half a line', end='')\n    os._exit(7)\n")
    guest.run("ca-1", arguments())
    assert guest.wait() == 7
    assert guest.logs() == "last words\nhalf a line"


def test_a_forked_child_of_user_code_prints_to_the_descriptors_and_leaves_the_socket_alone(guest: GuestProcess) -> None:
    source = """
import os
def f():
    pid = os.fork()
    if not pid:
        print("from the child")
        os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
    guest.load(source)
    assert guest.call() == 5
    guest.stop()
    assert guest.leftovers() == "from the child\n"


def test_multiprocessing_works_in_user_code(guest: GuestProcess) -> None:
    source = """
import multiprocessing
def square(x):
    return x * x
def f(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, range(5))
"""
    guest.load(source)
    assert guest.call("fork") == [0, 1, 4, 9, 16]
    assert guest.call("spawn") == [0, 1, 4, 9, 16]


CRASHES = {
    "crash after flushed lines": "for i in range(10): print('line', i, flush=True)\n    os.kill(os.getpid(), 9)",
    "crash after lines of stderr": "for i in range(10): print('line', i, file=sys.stderr)\n    os.kill(os.getpid(), 9)",
    "crash after a few lines": "for i in range(10): print('line', i)\n    os.kill(os.getpid(), 9)",
    "a flush of all at the end": "print('\\n'.join(f'line {i}' for i in range(10)), flush=True)\n    os.abort()",
    "parts that are flushed": (
        "for i in range(10): print('line', i, end='', flush=True); print(flush=True)\n    ctypes.string_at(0)"
    ),
}


@pytest.mark.parametrize("crash", CRASHES)
def test_what_was_printed_before_a_crash_is_there(guest: GuestProcess, crash: str) -> None:
    guest.load(f"import ctypes, os, sys\ndef f():\n    {CRASHES[crash]}\n")
    guest.run("ca-1", arguments())
    assert guest.wait() < 0
    assert guest.logs("stdout") + guest.logs("stderr") == "".join(f"line {i}\n" for i in range(10))


def test_a_flushed_line_is_there_while_native_code_holds_the_gil(guest: GuestProcess) -> None:
    source = """
import ctypes
def f():
    print("one", flush=True)
    print("two", flush=True)
    ctypes.PyDLL(None).sleep(1000)  # with the GIL
"""
    guest.load(source)
    guest.run("ca-1", arguments())
    guest.expect_log("two", call="ca-1")


def test_a_progress_bar_is_one_line(guest: GuestProcess) -> None:
    source = """
import sys
def f():
    print("before")
    for n in range(101):
        sys.stdout.write(f"\\r{n:3}%")
        sys.stdout.flush()
    print()
    for n in range(50_000):
        sys.stdout.write(f"{n}\\r")
    print("crlf\\r\\nafter\\r\\n", end="")
    sys.stdout.write("\\rlast")
    sys.stdout.flush()
"""
    guest.load(source)
    assert guest.call() is None
    shown = [payloads[0].decode() for header, payloads in guest.frames if header["t"] == "log"]
    kept = "".join(text for text in shown if not is_drawing(text))
    assert kept == "before\n100%\ncrlf\nafter\nlast"
    assert "\r  0%" in shown
    assert len(shown) < 20
