"""What `inrush run` shows in addition to the program's own output."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time

from inrush.cli.screen.output import Plain
from inrush.wire import Log, Progress, State

DEADLINE_S = 60.0


def log(text: str, stream: str = "stdout") -> Log:
    return Log(rid=1, time=0.0, container="co-1", function="f", call="", stream=stream, text=text)


def test_what_containers_print_goes_to_the_stream_that_they_printed_it_to(capsys):
    output = Plain()
    output.log(log("a result\n"))
    output.log(log("a complaint\n", "stderr"))
    shown = capsys.readouterr()
    assert shown.out == "co-1 a result\n"
    assert shown.err == "co-1 a complaint\n"


def test_of_a_progress_bar_the_last_state_is_shown(capsys):
    Plain().log(log("loading 1/3\rloading 2/3\rloading 3/3\n", "stderr"))
    assert capsys.readouterr().err == "co-1 loading 3/3\n"


def test_a_build_tells_its_steps_and_their_output_on_stderr(capsys):
    output = Plain()
    output.progress(Progress(1, "step", "pip_install numpy"))
    output.progress(Progress(1, "line", "Installed 1 package\n"))
    output.progress(Progress(1, "done", ""))
    assert capsys.readouterr() == ("", "building: pip_install numpy\n  Installed 1 package\n")


def test_why_calls_wait_is_told_when_it_lasts_and_once(capsys):
    output = Plain(patience_s=0.02)
    told = ""
    for why in ("no A10G free", "no A10G free", "starting"):
        output.state(State(1, "waiting", "f", "waiting", why))
        told += until_told(capsys, why, told)
    assert told.splitlines() == ["waiting: f: no A10G free", "waiting: f: starting"]


def test_a_wait_that_is_over_at_once_is_not_told(capsys):
    output = Plain(patience_s=1.0)
    for function in ("f", "g"):
        output.state(State(1, "waiting", function, "waiting", "starting"))
    output.state(State(1, "waiting", "f", ""))
    assert until_told(capsys, "g: starting", "") == "waiting: g: starting\n"


def until_told(capsys, text: str, before: str) -> str:
    """What has been told by the time that `text` was, now or before."""
    told, deadline = "", time.monotonic() + DEADLINE_S
    while text not in before + told:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        told += capsys.readouterr().err
    return told


LIVE = """
import time
from inrush.cli.screen.output import shown
from inrush.client import _output
from inrush.wire import Log, Progress, State

with shown():
    output = _output.current()
    output.progress(Progress(1, "step", "pip_install numpy"))
    output.progress(Progress(1, "line", "Resolved 1 package"))
    output.state(State(1, "container", "co-1", "starting"))
    output.state(State(1, "waiting", "f", "waiting", "no A10G free: 8 of 8 busy"))
    time.sleep(0.3)  # the display is drawn ten times a second
    print("printed by the program")
    output.log(Log(1, 0.0, "co-1", "f", "", "stdout", "printed in a container"))
    output.progress(Progress(1, "done", ""))
    output.state(State(1, "waiting", "f", ""))
    output.state(State(1, "container", "co-1", "ready"))
print("the end")
"""


def on_a_terminal(code: str) -> str:
    """Everything that the code writes to its terminal."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the terminal's last user has gone
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait() == 0, shown.decode()
    return shown.decode()


def test_a_terminal_shows_builds_waits_and_containers_while_they_last():
    shown = on_a_terminal(LIVE)
    for text in ("pip_install numpy", "Resolved 1 package", "no A10G free: 8 of 8 busy", "containers: 1 starting"):
        assert text in shown
    tail = shown[shown.index("printed by the program") :]
    assert "printed in a container" in tail
    assert "built" in tail
    after = tail[tail.index("the end") :]
    assert "waiting" not in after
    assert "containers:" not in after
