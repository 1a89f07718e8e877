"""How far maps are, and what becomes of their inputs, as `inrush run` and `enable_output` tell it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from inrush.client._inflight import Fan
from inrush.client._progress import LINES_MAX, Maps, MapView
from inrush.wire import State, Status
from running_server import RunningServer

from .terminals import shown_on

PROGRAM = """
    import time
    import inrush

    app = inrush.App("progress")


    @app.function(max_containers=2, retries=inrush.Retries(max_retries=1, initial_delay=0.0))
    def f(x: int) -> int:
        time.sleep(0.08)
        if x in (3, 17):
            raise ValueError(x)
        return x


    @app.function()
    def slow(x: int) -> int:
        print("begun", flush=True)
        time.sleep(4)
        return x


    @app.local_entrypoint()
    def main():
        print("results:", len(list(f.map(range(60), return_exceptions=True))))


    @app.local_entrypoint()
    def read():
        print("results:", len(list(f.map(iter(range(60)), return_exceptions=True))))


    @app.local_entrypoint()
    def failing():
        list(f.map(range(60)))


    @app.function(retries=inrush.Retries(max_retries=1, initial_delay=0.0))
    def odd(x: int) -> int:
        if x % 2:
            raise ValueError(x)
        return x


    @app.local_entrypoint()
    def lasting():
        print("results:", list(slow.map([1])))
"""


@pytest.fixture(scope="module")
def program(server: RunningServer) -> Path:
    return server.write(PROGRAM)


def run(server: RunningServer, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inrush", "run", *map(str, args)]
    return subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=120)


def on_a_terminal(server: RunningServer, *args: object) -> tuple[str, str]:
    """What the command prints to its terminal, and to its standard output, which is a pipe."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "inrush", "run", *map(str, args)]
    env = {**server.env, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    shown = shown_on(ours)
    return shown.decode(), process.communicate(timeout=60)[0]


def test_a_map_says_how_far_it_is_and_which_inputs_failed_and_were_tried_again(server, program):
    done = run(server, f"{program}::main")
    assert done.stdout.splitlines() == ["results: 60"]
    for index in (3, 17):
        assert f"f: input {index} failed and is tried again: retry 1 of 1" in done.stderr
        assert f"f: input {index} failed: raised an exception" in done.stderr
    assert re.search(r"^f: \d+ of 60, .*/s, .* left", done.stderr, re.M)
    assert re.search(r"^f: 60 of 60 in \d+ s, .*/s, 2 failed, 2 tried again$", done.stderr, re.M)


def test_a_caller_of_a_deployed_app_is_told_of_retries_too(server, program):
    assert server.inrush("deploy", str(program)).returncode == 0
    caller = server.write("""
        import inrush

        app = inrush.App("calls-progress")

        @app.local_entrypoint()
        def main():
            odd = inrush.Function.from_name("progress", "odd")
            print("results:", len(list(odd.map(range(4), return_exceptions=True))))
            odd.remote(7)
    """)
    done = run(server, caller)
    assert done.stdout.splitlines() == ["results: 4"]
    for input in ("input 1", "input 3", "a call"):
        assert f"odd: {input} failed and is tried again: retry 1 of 1" in done.stderr
    called = server.inrush("call", "progress::odd", "--x", "1")
    assert "odd: a call failed and is tried again" in called.stderr
    server.inrush("app", "stop", "progress")


def test_of_inputs_that_are_read_as_they_come_the_number_is_told_when_it_is_known(server, program):
    done = run(server, f"{program}::read")
    assert re.search(r"^f: 60 of 60 in ", done.stderr, re.M)


def test_a_map_that_its_failure_ends_says_which_input_it_was(server, program):
    done = run(server, f"{program}::failing")
    assert done.returncode == 1
    assert "f: input 3 failed: raised an exception" in done.stderr
    assert re.search(r"^f: stopped at \d+ of 60 in ", done.stderr, re.M)


def test_a_terminal_shows_how_far_a_map_is_while_results_go_where_they_are_piped_to(server, program):
    shown, piped = on_a_terminal(server, f"{program}::main")
    assert piped == "results: 60\n"
    assert re.search(r"f: \d+ of 60, .*/s, .* left", shown)
    assert "f: input 17 failed: raised an exception" in shown
    assert "results" not in shown


def test_a_lost_link_is_told_at_once_and_that_it_is_tried_again(server, program):
    command = [sys.executable, "-u", "-m", "inrush", "run", f"{program}::lasting"]
    process = subprocess.Popen(command, env=server.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        if line.endswith("begun\n"):
            break
    server.kill()
    said = ""
    for line in process.stderr:
        said += line
        if "trying again" in line:
            break
    assert "the link to the inrush server is lost; trying again for 60 s" in said
    server.adopt()  # the one that the client itself has started
    rest, complaint = process.communicate(timeout=90)
    server.stop()
    server.start()  # for the other tests: it does not end when it is idle
    assert "results: [1]" in rest
    assert "the link to the inrush server is there again" in complaint


def test_under_enable_output_one_line_is_drawn_again(server, program):
    code = "import inrush, program\nwith inrush.enable_output(), program.app.run(): program.main()"
    command = [sys.executable, "-c", code]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, env=server.env, cwd=program.parent, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    assert process.communicate(timeout=60)[0].endswith(b"results: 60\n"), shown
    assert re.search(rb"\rf: \d+ of 60, .*/s, .* left", shown), shown
    assert b"f: input 17 failed" in shown


# ── the counts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def fan(inputs: int) -> Fan:
    made = Fan("ca-1", "fn-1", "", "")
    made.more([b"x"] * inputs)
    return made


def test_the_time_left_is_that_of_the_latest_rate():
    one = fan(100)
    view = MapView(one, "f", 100)
    one.results(range(20), [0] * 20, [b"P"] * 20)
    assert view.text(view.began + 4.0) == "f: 20 of 100, 5/s, 16 s left"
    one.results(range(20, 60), [0] * 40, [b"P"] * 40)
    assert view.text(view.began + 12.0) == "f: 60 of 100, 5/s, 8 s left"
    assert view.text(view.began + 20.0) == "f: 60 of 100"


def test_a_map_of_an_iterator_says_how_many_inputs_it_has_read():
    one = fan(7)
    one.results([0], [0], [b"P"])
    view = MapView(one, "f", -1)
    assert view.text(view.began + 1.0) == "f: 1 of 7 so far, 1/s"


def test_many_failures_and_retries_are_counted_and_not_all_told():
    said: list[str] = []
    maps = Maps(said.append, lambda lines: None)
    one = fan(100)
    maps.begin(one, "f", 100)
    maps.retry(State(1, "retry", "f", " ".join(["ca-1", *map(str, range(100))]), "retry 1 of 3 in 1 s"))
    assert len(said) == LINES_MAX
    one.results(range(100), [int(Status.CRASHED)] * 100, [b"P"] * 100)
    maps.end(one)
    maps.close()
    assert len(said) <= 2 * LINES_MAX + 1
    assert "f: input 0 failed: its container died" in said
    assert "100 failed, 100 tried again" in said[-1]


def test_of_many_short_maps_few_are_told():
    said: list[str] = []
    maps = Maps(said.append, lambda lines: None)
    for _ in range(100):
        one = fan(1)
        maps.begin(one, "f", 1)
        one.results([0], [0], [b"P"])
        maps.end(one)
    maps.close()
    assert 1 <= len(said) < 10
