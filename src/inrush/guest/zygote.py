"""The fork server: a Python process inside the image that has imported what containers need, and forks them.

It has no capabilities: its children go into berths that trusted code has made (`isolate`). It is pid 3 of its pid
namespace and a container is pid 2 of its own, since OpenSSL recognizes a fork by a changed pid. Everything here uses
the standard library alone.

Before the first fork its objects are frozen out of garbage collection, since a collection in a child would touch, and
so copy, every page; and its memory is moved to huge pages, since page tables are most of what a fork copies.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from types import ModuleType
from typing import Any, NoReturn

from inrush.guest import isolate, randomness
from inrush.guest.isolate import Place
from inrush.linux import messages, process, seccomp

CONTROL = 3
"""The descriptor of the launcher's socket."""


def main() -> NoReturn:
    """Prepares the template, reports to the launcher, forks on request, and exits when the launcher hangs up."""
    process.set_title("inrush-zygote")
    control = socket.socket(fileno=CONTROL)
    os.set_inheritable(CONTROL, False)
    body = messages.receive(control).body
    if body is None:
        os._exit(0)
    try:
        module, state, report = _prepare(body)
    except BaseException as error:
        wrong = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()[-100_000:]}
        messages.send(control, {"failed": wrong})
        os._exit(1)
    messages.send(control, {"up": {"report": report, "threads": len(os.listdir("/proc/self/task"))}})
    Zygote(control, module, state).serve()


def _prepare(body: dict[str, Any]) -> tuple[ModuleType, Any, dict[str, Any]]:
    sys.path[:0] = body["sys_path"]
    sys.path += body["sys_path_end"]
    module = importlib.import_module(body["entry"])
    state, report = module.template(body["boot"]) if body["boot"] is not None else (None, {})
    randomness.warm()
    gc.collect()
    gc.freeze()
    process.collapse_memory()
    return module, state, report


class Zygote:
    """Forks on the launcher's requests, and reports the exits of children."""

    def __init__(self, control: socket.socket, module: ModuleType, state: Any) -> None:
        self._control = control
        self._module = module
        self._state = state
        self._filter = seccomp.program()
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._children: dict[int, int] = {}

    def serve(self) -> NoReturn:
        """Serves until the launcher hangs up."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        poll = select.poll()
        for fd in (self._control.fileno(), self._woken):
            poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._woken:
                    self._reap()
                else:
                    self._hear()

    def _hear(self) -> None:
        body, fds, _ = messages.receive(self._control)
        if body is None:
            os._exit(0)
        try:
            self._fork(isolate.place(body, fds))
        except Exception as error:
            messages.send(self._control, {"unforked": body.get("fork"), "error": f"{type(error).__name__}: {error}"})
        finally:
            messages.close_all(fds)

    def _fork(self, place: Place) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()  # else the child would write it again
        pid = isolate.fork_into(place.door)
        if pid == 0:
            self._child(place)
        self._children[pid] = place.number

    def _child(self, place: Place) -> NoReturn:
        code = 1
        try:
            times = [("fork", time.monotonic())]
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()  # left open, it would hide from the launcher that the zygote has died
            for fd in (self._woken, self._wake):
                os.close(fd)
            code = self._live(place, times)
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()
            os._exit(code & 0xFF)

    def _live(self, place: Place, times: isolate.Times) -> int:
        with socket.socket(fileno=place.report) as report:
            try:
                names = isolate.settle(place, self._filter, times)
                guest = self._module.guest(self._state)
                job = isolate.wait(report, times, place.ahead, getattr(self._module, "rehearse", lambda: None))
                if job is None:
                    return 0
                sock = isolate.become(job, names, report, times)
            except BaseException as error:
                with contextlib.suppress(OSError):
                    where = getattr(error, "filename", None) or ""
                    messages.send(report, {"error": f"{type(error).__name__}: {error} {where}".strip()})
                raise
        return int(guest.live(sock))

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if pid in self._children:
                messages.send(self._control, {"exit": self._children.pop(pid), "status": status})
