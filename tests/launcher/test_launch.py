"""How the launcher follows a start, with processes that pause where real ones do so only on a busy machine."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

from inrush.launcher.launch import Failure, Launch
from inrush.launcher.loop import Loop
from inrush.linux import messages, namespaces


def _start(program: Callable[[socket.socket], None]) -> Callable[[socket.socket, int], int]:
    """A setup that stays, with the report open, when its program has long ended."""

    def start(report: socket.socket, status: int) -> int:
        told, tell = os.pipe()
        setup = os.fork()
        if setup == 0:
            init = namespaces.fork_sibling()
            if init == 0:
                os.read(told, 1)
                program(report)
                os.write(status, b"0")
                os._exit(0)
            messages.send(report, {"init": init})
            os.write(tell, b"x")
            signal.pause()
        os.close(told)
        os.close(tell)
        setups.append(setup)
        return setup

    setups.clear()
    return start


setups: list[int] = []


def _follow(loop: Loop, program: Callable[[socket.socket], None]) -> list[object]:
    """What the launch tells, up to its end."""
    told: list[object] = []
    launch = Launch(loop, lambda pid, procs: None)
    launch.up = lambda pid, phases: told.append("up")
    launch.failed = lambda failure: told.append(failure)
    launch.ended = lambda status: told.append(status)
    launch.gone = lambda: setattr(loop, "running", False)
    launch.begin(_start(program))
    try:
        loop.run()
    finally:
        os.kill(setups[0], signal.SIGKILL)
        os.waitpid(setups[0], 0)
    return told


def _executed(report: socket.socket) -> None:
    messages.send(report, {"ready": []})
    messages.receive(report)


def test_a_program_that_has_ended_before_its_setup_has_still_was_started(loop: Loop) -> None:
    assert _follow(loop, _executed) == ["up", 0]


def test_one_that_could_not_be_executed_was_not(loop: Loop) -> None:
    def failing(report: socket.socket) -> None:
        _executed(report)
        messages.send(report, {"error": "no such program"})

    assert _follow(loop, failing) == [Failure("exec", "no such program")]


def test_one_that_ends_before_it_is_told_to_go_was_not(loop: Loop) -> None:
    (told,) = _follow(loop, lambda report: None)
    assert isinstance(told, Failure)
    assert told.code == "system"
