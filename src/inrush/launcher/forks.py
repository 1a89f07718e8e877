"""One container forked from a template, as the launcher follows it: asked, ready, verified; and its end."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable

from inrush.launcher import verify
from inrush.launcher.launch import Failure, Phases
from inrush.launcher.machine import Held, Machine
from inrush.launcher.programs import Container
from inrush.launcher.specs import Started, TemplateUp
from inrush.linux import messages

_READY_S = 10.0
_STATUS_S = 2.0


class Fork:
    """Follows one fork. Answers exactly once; then, if that was `Started`, reports the end exactly once."""

    def __init__(
        self,
        machine: Machine,
        number: int,
        container: Container,
        held: Held,
        userns: int,
        template: int,
        answer: Callable[[TemplateUp | Started | Failure], None],
        forget: Callable[[Fork], None],
    ) -> None:
        self.number = number
        """What its template calls it by."""
        self.container = container
        self._machine = machine
        self._held = held
        self._userns = userns
        self._template = template
        self._answer = answer
        self._forget = forget
        self._settled = False
        self._over = False
        self._report: socket.socket | None = None
        self._began = self._asked = time.monotonic()
        container.held, container.group, container.kill = held, held.group, self.kill

    def begin(self, report: socket.socket, began: float, asked: float) -> None:
        """Hear the child's `report`. `began`: when the launcher took the request; `asked`: when its place was made, and
        it was asked."""
        self._began, self._asked, self._report = began, asked, report
        self._machine.loop.watch(report.fileno(), self._hear)

    def sent(self) -> None:
        """It was asked: it has so much time."""
        self._machine.loop.later(_READY_S, self._too_late)

    def kill(self) -> None:
        """Kill the first process, pid 1 of the container, and so all of it."""
        self.container.signal(signal.SIGKILL)
        if self._held.group:
            self._held.group.kill()

    def exited(self, status: int) -> None:
        """Its template says that it ended with this wait status."""
        if self._report and not self._settled:
            self._hear()  # what it said before it ended
        if self._settled and not self._over:
            self._finish(status)
        else:
            self.fail(Failure("system", "the container ended before it was ready"))

    def fail(self, failure: Failure) -> None:
        """Answer with a failure, if nothing was answered yet, and let all of it go."""
        if self._over:
            return
        if not self._settled:
            self._settled = True
            self._answer(failure)
        self.kill()
        self._close()

    def _too_late(self) -> None:
        if not self._settled:
            self.fail(Failure("template", f"the template did not fork within {_READY_S:g} s; it may be stuck"))

    def _hear(self) -> None:
        assert self._report is not None
        try:
            body, fds, pid = messages.receive(self._report)
            messages.close_all(fds)
        except (OSError, ValueError):
            body, pid = None, 0
        if isinstance(body, dict) and "ready" in body:
            self._verify(pid, body["ready"])
        else:
            said = str(body.get("error", "")) if isinstance(body, dict) else ""
            self.fail(Failure("root", f"the forked container could not isolate itself: {said or 'it ended'}"))

    def _verify(self, pid: int, phases: object) -> None:
        try:
            if not self.container.pid:
                self.container.identify(pid, self._machine.features.pidfd)
            elif self.container.pid != pid:
                raise verify.Unconfined("its report came from another process")
            verify.process(
                pid,
                self._userns,
                self._held.group,
                [os.getpid(), self._template],
                filters=2 if self._machine.filter_code else 0,  # its template's and its own
                place=self._held.place(),
            )
        except verify.Unconfined as error:
            self.fail(Failure("unconfined", f"the container was killed, it is not confined: {error}"))
            return
        except OSError as error:
            self.fail(Failure("system", f"the container ended before it was verified ({error})"))
            return
        if self.container.killed:
            self.fail(Failure("system", "the container was killed while it was set up"))
            return
        self._hang_up()
        self._settled = True
        self._held.entered()
        if self.container.pidfd >= 0:
            self._machine.loop.watch(self.container.pidfd, self._process_ended)
        self._answer(Started(pid, self._timed(_phases(phases)), self._held.why))

    def _timed(self, own: Phases) -> Phases:
        """The child's account, with what the launcher did before and since."""
        mounted_ms = (self._asked - self._began) * 1e3
        since_ms = (time.monotonic() - self._asked) * 1e3 - sum(ms for _, ms in own)
        return (("mount", round(mounted_ms, 3)), *own, ("verify", round(max(0.0, since_ms), 3)))

    def _process_ended(self) -> None:
        """The kernel says so; the template, if it is well, will say how in a moment."""
        self._machine.loop.unwatch(self.container.pidfd)
        self._machine.loop.later(_STATUS_S, lambda: None if self._over else self._finish(signal.SIGKILL))

    def _finish(self, status: int) -> None:
        self.container.end(status)
        self._close()

    def _hang_up(self) -> None:
        if self._report:
            self._machine.loop.unwatch(self._report.fileno())
            self._report.close()
            self._report = None

    def _close(self) -> None:
        self._over = True
        self._hang_up()
        self._machine.loop.unwatch(self.container.pidfd)
        self._machine.release(self._held)
        self.container.close()
        self._forget(self)


def _phases(said: object) -> Phases:
    """The child's own account of its time, if it is one."""
    try:
        return tuple((str(name)[:40], float(ms)) for name, ms in said)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return ()
