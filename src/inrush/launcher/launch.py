"""The start of one container that executes a program, and its end, as the launcher follows them: init is there, the
process is ready, it is verified, it may go, it has executed the program."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from inrush.launcher.loop import Loop
from inrush.launcher.verify import Unconfined
from inrush.linux import messages

Phases = tuple[tuple[str, float], ...]
Code = Literal["exec", "root", "unconfined", "template", "unknown", "busy", "refused", "system", "gone"]
"""What failed: the program, the root and its namespaces, the check from outside, or the template; the id is not known,
or in use; the order breaks a rule; the machine lacks something; the launcher is gone."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the launcher did not do what it was asked; `detail` may hold a traceback."""

    code: Code
    message: str
    detail: str = ""


KILLED = Failure("system", "the container was killed while it was set up")


class Launch:
    """Follows one start. Exactly one of `up(pid, phases)` and `failed(failure)` is called; after `up`, `ended(wait
    status)` is called once. In every case `gone()` is called last, when no process of the container is left."""

    def __init__(self, loop: Loop, check: Callable[[int, int], None], alone: bool = False) -> None:
        """`check(pid, procs)` raises `Unconfined` if the process is not as it must be. `procs` is a descriptor that
        lists the processes of its pid namespace, or -1 if the program is not `alone` there with its init."""
        self._loop = loop
        self._alone = alone
        self._procs = -1
        self._kept = False
        self._check = check
        self.up: Callable[[int, Phases], None] = lambda pid, phases: None
        self.failed: Callable[[Failure], None] = lambda failure: None
        self.ended: Callable[[int], None] = lambda status: None
        self.gone: Callable[[], None] = lambda: None
        self.pid = 0
        self.init = 0
        self._phases: Phases = ()
        self._settled = False
        self._started = False
        self._doomed = False
        self._over = False
        self._report: socket.socket | None = None
        self._status_read = -1

    def begin(self, start: Callable[[socket.socket, int], int]) -> None:
        """Starts the container. `start(report, status pipe)` forks the setup process, and returns its pid."""
        self._report, theirs = messages.pair()
        messages.want_credentials(self._report, descriptors=True)  # only trusted code has the other end
        self._report.setblocking(False)
        theirs = messages.raised(theirs)
        self._status_read, status = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            setup = start(theirs, status)
        finally:
            theirs.close()
            os.close(status)
        self._loop.watch(self._report.fileno(), self._hear)
        self._loop.when_ended(setup, lambda _: self._setup_ended())

    def kill(self) -> None:
        """Kills the container's init, now or as soon as it exists; the kernel then kills all other processes of the
        container."""
        self._doomed = True
        if self.init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)

    def _hear(self) -> bool:
        """Handles one message; returns False if there is none."""
        if self._report is None:
            return False
        try:
            body, fds, sender = messages.receive(self._report, descriptors=1)
        except BlockingIOError:
            return False
        except (OSError, ValueError) as error:
            self._fail(Failure("system", f"the report of a starting container cannot be read: {error}"))
            return False
        if body is not None and "procs" in body and len(fds) == 1 and self._procs < 0:
            self._procs = fds.pop()
        messages.close_all(fds)
        if body is None:
            self._heard_all()
        else:
            self._heard(body, sender)
        return True

    def _heard(self, body: dict[str, Any], sender: int) -> None:
        if "init" in body:
            self.init = int(body["init"])
            self._loop.when_ended(self.init, self._init_ended)
            if self._doomed:
                self.kill()
        elif "ready" in body:
            self.pid = sender
            self._phases = tuple((str(name), float(ms)) for name, ms in body["ready"])
        elif "kept" in body:
            self._kept = True
        elif "error" in body:
            self._fail(Failure("exec" if self.pid else "root", str(body["error"])))
        if self.pid and not self._settled and ("ready" in body or "kept" in body) and self._kept is self._alone:
            self._verify()

    def _verify(self) -> None:
        try:
            self._check(self.pid, self._procs)
            if self._report:
                messages.send(self._report, {"go": True})
        except Unconfined as error:
            self._fail(Failure("unconfined", f"the container was killed, it is not confined: {error}"))
        except OSError as error:
            self._fail(Failure("system", f"the container ended before it began: {error}"))

    def _heard_all(self) -> None:
        """Handles the end of all reports. If the process had been told to go, it has executed its program, since any
        failure would have been reported."""
        self._hang_up()
        if self.pid and not self._settled:
            self._settled = self._started = True
            self.up(self.pid, self._phases)
        else:
            self._fail(Failure("system", "the container ended while it was set up"))

    def _fail(self, failure: Failure) -> None:
        self._hang_up()
        if not self._settled:
            self._settled = True
            self.failed(KILLED if self._doomed else failure)
        self.kill()

    def _hang_up(self) -> None:
        if self._report:
            self._loop.unwatch(self._report.fileno())
            self._report.close()
            self._report = None
        if self._procs >= 0:
            os.close(self._procs)
            self._procs = -1

    def _drain(self) -> None:
        while self._hear():
            pass

    def _setup_ended(self) -> None:
        while not self.init and self._hear():
            pass  # handle the reports that it sent before it ended
        if not self.init and not self._over:  # init may have ended, and been handled, before its setup
            self._fail(Failure("system", "the container ended while it was set up"))
            self._close()

    def _init_ended(self, status: int) -> None:
        self._drain()
        self.init = 0
        if not self._settled and not self._doomed:
            self._heard_all()  # the setup may still run for a moment and keep the report open
        elif not self._settled:
            self._fail(KILLED)
        if self._started:
            self.ended(self._program_status(status))
        self._close()

    def _program_status(self, status: int) -> int:
        """The program's wait status, which init has written; init's own if it was killed before that."""
        try:
            return int(os.read(self._status_read, 32) or status)
        except BlockingIOError:  # the setup still runs, and has the pipe open
            return status

    def _close(self) -> None:
        self._over = True
        self._hang_up()
        os.close(self._status_read)
        self.init = 0
        self.gone()
