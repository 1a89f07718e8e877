"""The fork server alone; the test takes the part of the launcher. The launcher's tests check its forks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import inrush
from deadline import DEADLINE_S
from inrush.guest.isolate import place
from inrush.linux import messages

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

_BOOT = "import os, sys; os.dup2({}, 3); sys.path.insert(0, {!r}); from inrush.guest.zygote import main; main()"

Start = Callable[..., tuple[socket.socket, "subprocess.Popen[bytes]"]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a zygote in a pid namespace of its own, with a module as its entry."""
    started: list[tuple[socket.socket, subprocess.Popen[bytes]]] = []

    def begin(module: str, **more: Any) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        (tmp_path / "entry.py").write_text(textwrap.dedent(module))
        ours, theirs = messages.pair()
        code = _BOOT.format(theirs.fileno(), str(Path(inrush.__file__).parent.parent))
        command = ["unshare", "-fp", "--mount-proc", sys.executable, "-I", "-c", code]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        started.append((ours, process))
        boot = {"sys_path": [str(tmp_path)], "sys_path_end": ["/end"], "entry": "entry", "boot": None, **more}
        messages.send(ours, boot)
        ours.settimeout(DEADLINE_S)
        return ours, process

    yield begin
    for ours, process in started:
        ours.close()
        process.kill()
        process.wait()


def _hear(control: socket.socket) -> dict[str, Any]:
    body = messages.receive(control).body
    assert body is not None
    return body


def test_a_zygote_imports_its_entry_and_says_that_it_is_up(start: Start) -> None:
    control, _ = start("")
    assert _hear(control) == {"up": {"report": {}, "threads": 1}}


def test_a_snapshot_calls_the_template_and_tells_its_report(start: Start) -> None:
    module = """
        import sys
        def template(boot):
            return None, {"got": boot, "last": sys.path[-1]}
    """
    control, _ = start(module, boot={"n": 1})
    report = _hear(control)["up"]["report"]
    assert report["got"] == {"n": 1}
    assert report["last"] == "/end"


def test_an_entry_that_fails_is_told_with_its_traceback(start: Start) -> None:
    control, process = start("raise ValueError('no')")
    failed = _hear(control)["failed"]
    assert failed["error"] == "ValueError: no"
    assert "entry.py" in failed["traceback"]
    assert process.wait(DEADLINE_S) != 0


def test_threads_are_counted(start: Start) -> None:
    control, _ = start("import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()")
    assert _hear(control)["up"]["threads"] == 2


def test_a_zygote_ends_when_its_launcher_hangs_up(start: Start) -> None:
    control, process = start("")
    _hear(control)
    control.close()
    assert process.wait(DEADLINE_S) == 0


def test_a_request_that_makes_no_sense_is_answered_and_the_zygote_lives(start: Start) -> None:
    control, _ = start("")
    _hear(control)
    for _ in range(2):
        messages.send(control, {"fork": 1}, [0, 1, 2])
        answer = _hear(control)
        assert answer["unforked"] == 1
        assert answer["error"]


def test_a_fork_that_cannot_come_into_its_berth_is_told_with_why(start: Start) -> None:
    control, _ = start("")
    _hear(control)
    for number in range(2):
        report, theirs = messages.pair()
        report.settimeout(DEADLINE_S)
        null = os.open(os.devnull, os.O_RDWR)
        messages.send(control, {"fork": number, "ahead": False}, [theirs.fileno(), null])
        theirs.close()
        os.close(null)
        answer = _hear(control)
        assert answer["unforked"] == number
        assert "berth" in answer["error"]
        assert messages.receive(report).body is None
        report.close()


def test_descriptors_of_a_request_are_told_apart_by_their_order() -> None:
    asked = place({"fork": 4, "ahead": True}, [100, 101])
    assert (asked.number, asked.report, asked.door, asked.ahead) == (4, 100, 101, True)
    with pytest.raises(ValueError, match="unpack"):
        place({"fork": 4, "ahead": True}, [100])
