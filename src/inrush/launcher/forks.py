"""The start of one container that is forked from a template, and its end, as the launcher follows them: the process is
in its berth, is verified, is told what it becomes, and reports that it is ready.

Only the container may have its variables and the socket that its guest serves, so it gets them only after it has been
verified, together with everything else in its berth.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from inrush.launcher import statements, verify
from inrush.launcher.launch import KILLED, Failure, Phases
from inrush.launcher.machine import Held, Machine
from inrush.launcher.programs import Container
from inrush.launcher.specs import Started, TemplateUp
from inrush.linux import messages

_READY_S = 10.0
_STATUS_S = 2.0


@dataclass(slots=True)
class Job:
    """What a container is told to become. The job owns the descriptors: guest socket, stdout and stderr."""

    body: dict[str, Any]
    fds: list[int]

    def close(self) -> None:
        """Closes the descriptors, after the container has been told or has failed."""
        messages.close_all(self.fds)
        self.fds = []


class Fork:
    """Follows one fork. It answers exactly once and, if the answer was `Started`, reports the end exactly once."""

    def __init__(
        self,
        machine: Machine,
        number: int,
        container: Container,
        held: Held,
        expected: verify.Expected,
        job: Job,
        answer: Callable[[TemplateUp | Started | Failure], None],
        forget: Callable[[Fork], None],
        began: float,
        cpu_request: float,
    ) -> None:
        """`began` is when the launcher received the request. `cpu_request` is the container's share of the processor
        once it is ready."""
        self._cpu_request = cpu_request
        self.number = number
        """Its number in messages of its template."""
        self.container = container
        self.settled = self.over = False
        self._machine = machine
        self._held = held
        self._expected = expected
        self._job = job
        self._answer = answer
        self._forget = forget
        self._told = False
        self._report: socket.socket | None = None
        self._theirs: socket.socket | None = None
        self._began = self._asked = began
        container.held, container.group, container.kill = held, held.group, self.kill

    def begin(self) -> None:
        """Makes the socket pair on which its process reports; called when its berth has been made."""
        ours, self._theirs = messages.pair()
        messages.want_credentials(ours)
        self._listen(ours)

    def ask(self, template: socket.socket) -> None:
        """Has its template fork a process into the berth. Raises `BlockingIOError` if the template's queue is full."""
        assert self._theirs is not None
        order_fork(template, self.number, self._theirs.fileno(), self._held, ahead=False)
        self._theirs.close()

    def occupies(self, report: socket.socket, pid: int, pidfd: int) -> None:
        """Takes a process that waits in its berth already."""
        self.container.pid, self.container.pidfd = pid, pidfd
        self._listen(report)

    def _listen(self, report: socket.socket) -> None:
        self._asked, self._report = time.monotonic(), report
        self._machine.loop.watch(report.fileno(), self._hear)

    def sent(self) -> None:
        """Starts the time limit for its process to be ready."""
        self._machine.loop.later(_READY_S, self._too_late)

    def kill(self) -> None:
        """Kills the container's first process, and all processes in its control group."""
        self.container.signal(signal.SIGKILL)
        if self._held.group:
            self._held.group.kill()

    def exited(self, status: int) -> None:
        """Handles the template's report that its process has ended with this wait status."""
        if self._report and not self.settled:
            self._hear()  # a report that it sent before it ended
        if self.settled and not self.over:
            self._finish(status)
        else:
            self.fail(Failure("system", "the container ended before it was ready"))

    def fail(self, failure: Failure) -> None:
        """Answers with a failure, if nothing was answered yet, kills the container and frees what it holds."""
        if self.over:
            return
        if not self.settled:
            self.settled = True
            self._answer(failure)
        self.kill()
        self._close()

    def forgotten(self) -> None:
        """Frees what it holds without an answer, since the caller reports why it could not begin."""
        self.settled = True
        self._close()

    def _too_late(self) -> None:
        if not self.settled:
            self.fail(Failure("template", f"the template did not fork within {_READY_S:g} s; it may be stuck"))

    def _hear(self) -> None:
        assert self._report is not None
        try:
            body, _, pid = messages.receive(self._report, wait=False, descriptors=0)
        except BlockingIOError:
            return  # it sent no report before it ended
        except (OSError, ValueError):
            body, pid = None, 0
        if isinstance(body, dict) and "waits" in body and not self.container.pid:
            self._arrived(pid)
        elif isinstance(body, dict) and "ready" in body and self._told:
            self._ready(pid, body["ready"])
        else:
            said = str(body.get("error", ""))[:1000] if isinstance(body, dict) else ""
            self.fail(Failure("root", f"the forked container could not take its place: {said or 'it ended'}"))

    def _arrived(self, pid: int) -> None:
        try:
            self.container.identify(pid, self._machine.features.pidfd)
        except OSError as error:
            self.fail(Failure("system", f"the container ended before it was verified ({error})"))
            return
        self.go()

    def go(self) -> None:
        """Verifies the process that waits in the berth, and tells it what it becomes. Raises `BlockingIOError` if its
        queue is full."""
        try:
            self._verify()
            assert self._report is not None
            messages.send(self._report, {**self._job.body, "asked": self._asked}, self._job.fds, wait=False)
        except verify.Unconfined as error:
            self.fail(Failure("unconfined", f"the container was killed, it is not confined: {error}"))
        except BlockingIOError:
            raise
        except OSError as error:
            self.fail(Failure("system", f"the container ended before it was verified ({error})"))
        else:
            self._told = True
            self._job.close()

    def _verify(self) -> None:
        door, group, pid = self._held.door, self._held.group, self.container.pid
        assert door is not None
        door.name(str(self._job.body["hostname"]))
        status = verify.process(pid, replace(self._expected, place=door.place), group)
        verify.alone(status, door.procs)

    def _ready(self, pid: int, phases: object) -> None:
        if self.container.pid != pid:
            self.fail(Failure("unconfined", "the container was killed: its report came from another process"))
            return
        if self.container.killed:
            self.fail(KILLED)
            return
        self._hang_up()
        self.settled = True
        if self._held.group:
            self._held.group.weigh(self._cpu_request)
        if self.container.pidfd >= 0:
            self._machine.loop.watch(self.container.pidfd, self._process_ended)
        self._answer(Started(pid, self._timed(statements.phases(phases)), self._held.why))

    def _timed(self, own: Phases) -> Phases:
        """The phases that the process measured, with those of the launcher before and after them."""
        mounted_ms = (self._asked - self._began) * 1e3
        since_ms = (time.monotonic() - self._asked) * 1e3 - sum(ms for _, ms in own)
        return (("mount", round(mounted_ms, 3)), *own, ("answer", round(max(0.0, since_ms), 3)))

    def _process_ended(self) -> None:
        """Handles the kernel's report that the process has ended. The template normally reports the wait status at the
        same time; if it does not, the status is taken to be SIGKILL."""
        self._machine.loop.unwatch(self.container.pidfd)
        self._machine.loop.later(_STATUS_S, lambda: None if self.over else self._finish(signal.SIGKILL))

    def _finish(self, status: int) -> None:
        self.container.end(status)
        self._close()

    def _hang_up(self) -> None:
        if self._report:
            self._machine.loop.unwatch(self._report.fileno())
            self._report.close()
            self._report = None
        if self._theirs:
            self._theirs.close()

    def _close(self) -> None:
        self.over = True
        self._hang_up()
        self._job.close()
        self._machine.loop.unwatch(self.container.pidfd)
        self._machine.release(self._held)
        self.container.close()
        self._forget(self)


def order_fork(template: socket.socket, number: int, report: int, held: Held, ahead: bool) -> None:
    """Has a template fork a process into the berth of `held`, which reports on the descriptor `report`. Raises
    `BlockingIOError` if the template's queue is full, and `OSError` if it has ended."""
    assert held.door is not None
    joins = held.joins()
    try:
        messages.send(template, {"fork": number, "ahead": ahead}, [report, held.door.pidfd, *joins])
    finally:
        messages.close_all(joins)
