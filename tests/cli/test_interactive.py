"""`inrush run -i`: code in a container talks with the person who runs it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from inrush.client._interact import Joined
from running_server import RunningServer

PROGRAM = """
    import os
    import subprocess
    import sys

    import inrush

    app = inrush.App("asks")


    @app.function()
    def ask() -> str:
        inrush.interact()
        name = input("who? ")
        print("on", os.ttyname(0), flush=True)
        subprocess.run(["sh", "-c", "read word; echo heard $word"])
        try:
            input("stop me ")
        except KeyboardInterrupt:
            print("stopped", flush=True)
        try:
            input("leave me ")
        except (OSError, EOFError):
            print("alone", flush=True)
        return f"hello {name}"


    @app.function()
    def stop(x: int) -> int:
        y = x * 7
        breakpoint()
        return y
"""


@pytest.fixture(scope="module")
def program(server: RunningServer) -> Path:
    return server.write(PROGRAM)


class Talk:
    """A program that a person runs at a terminal."""

    def __init__(self, server: RunningServer, *words: str) -> None:
        self.terminal, theirs = pty.openpty()
        command = [sys.executable, "-m", "inrush", "run", "-i", *words]
        self.process = subprocess.Popen(command, env=server.env, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.shown = ""

    def hear(self, text: str) -> None:
        """Waits until this is shown, after what was waited for before."""
        while text not in self.shown:
            try:
                self.shown += os.read(self.terminal, 65536).decode()
            except OSError:
                raise AssertionError(f"{text!r} was not shown: {self.shown}") from None
        self.shown = self.shown.partition(text)[2]

    def say(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def end(self) -> tuple[int, str]:
        """Its status, and all that was shown since."""
        try:
            while piece := os.read(self.terminal, 65536):
                self.shown += piece.decode()
        except OSError:
            pass
        os.close(self.terminal)
        return self.process.wait(), self.shown


def test_code_in_a_container_asks_the_person_who_runs_it(server: RunningServer, program: Path) -> None:
    talk = Talk(server, f"{program}::ask")
    talk.hear("who? ")
    talk.say("ada\r")
    talk.hear("on /dev/pts/0\r\n")
    talk.say("swordfish\r")
    talk.hear("heard swordfish")
    talk.hear("stop me ")
    talk.say("\x03")
    talk.hear("leave me ")
    talk.say("\x1c")
    status, rest = talk.end()
    assert (status, "hello ada\r\n" in rest) == (0, True), rest


def test_a_breakpoint_stops_at_the_persons_terminal(server: RunningServer, program: Path) -> None:
    talk = Talk(server, f"{program}::stop", "--x", "6")
    talk.hear("(Pdb) ")
    talk.say("p x + 1000\r")
    talk.hear("1006")
    talk.say("c\r")
    status, rest = talk.end()
    assert (status, "42" in rest) == (0, True), rest


def test_who_is_at_no_terminal_is_told_so(server: RunningServer, program: Path) -> None:
    done = server.inrush("run", "-i", f"{program}::ask")
    assert (done.returncode, "a person at a terminal" in done.stderr) == (2, True)
    done = server.inrush("run", f"{program}::ask")
    assert done.returncode == 1
    assert "nobody runs this app at a terminal: `inrush run -i` does" in done.stderr


def test_ctrl_c_interrupts_the_code_that_asked_and_nothing_after_it() -> None:
    joined = Joined.__new__(Joined)

    def ask() -> None:
        joined.asker = id(sys._getframe()), sys._getframe().f_code
        with pytest.raises(KeyboardInterrupt):
            joined._interrupt(0, sys._getframe())

    ask()
    joined._interrupt(0, sys._getframe())
