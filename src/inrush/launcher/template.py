"""A template (a zygote or a snapshot) as the launcher follows it: it is started, is ready, forks containers, and ends.

A template may run user code, so its reports are not trusted. The kernel tells which process a child is (by the
credentials of its report), and by its pidfd that it has ended. Only the exit status comes from the template, since the
kernel reports that to no other process.

Containers live in pid namespaces below that of their template, so they die with it. Closing a template therefore waits
for its last container.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from inrush.launcher import spawn, statements, verify
from inrush.launcher.berths import CHILD_MIB, MAX_READY, Berth, Berths, Done
from inrush.launcher.children import Child
from inrush.launcher.forks import Fork, Job, order_fork
from inrush.launcher.launch import KILLED, Failure, Launch
from inrush.launcher.machine import STARTING_CPU, Held, Machine
from inrush.launcher.places import Refused
from inrush.launcher.programs import Container
from inrush.launcher.specs import GUEST_LIB, ForkSpec, Limits, RootSpec, Started, TemplateSpec, TemplateUp
from inrush.linux import messages, process

_BOOT = f"import sys; sys.path.insert(0, {GUEST_LIB!r}); from inrush.guest.zygote import main; main()"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Variables of a template: thread pools do not survive a fork, so it gets none. Its children get the user's values."""

_RESEND_S = 0.005
_AT_ONCE = 16
"""How many requests a template is sent before it has answered; it forks one child after the other anyway."""
_LAST_WORDS_S = 1.0
_BUSY_S = 1.0

Answer = Callable[[TemplateUp | Started | Failure], None]


class Template:
    """One template."""

    def __init__(
        self,
        machine: Machine,
        spec: TemplateSpec,
        group: str,
        answer: Answer,
        failed: Callable[[Template], object],
        gone: Callable[[Template, int], None],
    ) -> None:
        self.key = spec.key
        self.uid_base = spec.uid_base
        self._machine = machine
        self._spec = spec
        self._limits = replace(spec.limits, cpu_request=max(spec.limits.cpu_request, STARTING_CPU))
        self._answer: Answer | None = answer
        self._group = group
        self._never_up = failed
        self._gone = gone
        self._began = self.forked_at = time.monotonic()
        self._numbers = itertools.count(1)
        self._forks: dict[int, Fork] = {}
        self._waiting: dict[int, tuple[Berth, Done]] = {}
        """Berths whose process no container has taken yet, by number, each with the callback to tell."""
        self._unsent: deque[tuple[Fork, Callable[[], None]]] = deque()
        """Forks that wait for their turn, each with a step that raises `BlockingIOError` if a queue is full."""
        self._starting = 0
        self._sent: set[int] = set()
        self._owed: set[int] = set()
        """Numbers of processes that were ordered and whose end the template has not reported."""
        self._closing = False
        self._status = 0
        self._users = machine.users.get(spec.uid_base)
        self._pids = -1
        """A descriptor of its pid namespace, below which the pid namespaces of its berths are; -1 until it is up."""
        self._control, self._theirs = messages.pair()
        self._control.setblocking(False)
        messages.refuse_descriptors(self._control)
        self._held: Held | None = None
        self.berths = Berths(self._prepare, self._let_go, machine.kept)
        self._launch = Launch(machine.loop, self._check, alone=True)

    def begin(self, stdio: tuple[int, int]) -> None:
        """Starts the process. Raises `OSError` if it cannot begin."""
        spec, machine = self._spec, self._machine
        held = self._held = machine.hold(
            self._group, spec.root, self._limits, spec.network, spec.uid_base, template=True
        )
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        joins = held.joins()
        ground = spawn.Ground(
            held.root,
            self._users.app,
            self._users.app,
            machine.users.base(spec.uid_base),
            machine.beneath,
            joins,
            held.net.fd if held.net else -1,
            spec.root.hostname,
            tmp_mib=spec.root.disk_mib,
            burn=True,
        )
        program = spawn.Program(
            (spec.python, "-I", "-c", _BOOT),
            {**spec.env, **_ONE_THREAD},
            spec.cwd,
            (null, *stdio),
            filter_code=machine.template_filter_code,
            inherit=self._theirs.fileno(),
        )
        launch = self._launch
        launch.up = lambda pid, phases: self._executed()
        launch.failed = self._failed
        launch.ended = self._ended
        launch.gone = self._release
        try:
            launch.begin(lambda report, status: spawn.start(ground, program, report, status))
        except OSError:
            machine.release(held)
            raise
        finally:
            messages.close_all([null, *joins])
            self._theirs.close()
        machine.expect(spec.uid_base)
        machine.loop.watch(self._control.fileno(), self._hear)
        machine.loop.later(spec.timeout_s, self._timed_out)

    def fork(self, spec: ForkSpec, fds: list[int], container: Container, answer: Answer) -> None:
        """Forks a container. `fds` are its guest socket, stdout and stderr. Raises `OSError` if it cannot begin."""
        began = self.forked_at = time.monotonic()
        berth, machine = self.berths.take(spec), self._machine
        number = berth.child.number if berth else next(self._numbers)
        held = (
            berth.held
            if berth
            else machine.hold(spec.id, spec.root, spec.limits, spec.network, self.uid_base, self._below(), doors=1)
        )

        def settled(result: TemplateUp | Started | Failure) -> None:
            self._starting -= 1
            self._sent.discard(number)
            answer(result)
            self._send()

        body = {"env": spec.env, "cwd": spec.cwd, "hostname": spec.hostname or spec.root.hostname}
        job = Job(body, [*map(os.dup, fds)])
        filters = 2 if machine.filter_code else 0  # the template's filter and the container's own
        expected = verify.Expected(self._users.inner, {}, (), (), filters)
        share = spec.limits.cpu_request
        made = Fork(machine, number, container, held, expected, job, settled, self._forget, began, share)
        self._forks[number] = made
        self._starting += 1
        container.uid_base = self.uid_base
        if berth:
            del self._waiting[number]
            made.occupies(*berth.child.take())
            self._ask(made, made.go)
            return
        try:
            self._open_berth(held, spec.root, spec.devices, lambda wrong: self._opened(made, wrong))
        except OSError:
            self._starting -= 1
            made.forgotten()
            raise

    def _ask(self, made: Fork, act: Callable[[], None]) -> None:
        self._unsent.append((made, act))
        self._send()

    def _opened(self, made: Fork, wrong: str) -> None:
        """Goes on with a fork after its berth has been made, or has failed."""
        if made.over:
            return
        if wrong or made.container.killed:
            made.fail(Failure("root", wrong) if wrong else KILLED)
            return
        made.begin()
        self._ask(made, lambda: self._order(made))

    def _order(self, made: Fork) -> None:
        made.ask(self._control)
        self._owed.add(made.number)

    def _open_berth(self, held: Held, root: RootSpec, devices: tuple[str, ...], done: Callable[[str], None]) -> None:
        self._machine.open_berth(held, self._pids, self.uid_base, root.disk_mib, devices, done)

    @property
    def busy(self) -> bool:
        """Whether containers are being started, unless they are held up."""
        return self._starting > 0 and time.monotonic() - self.forked_at < _BUSY_S

    def _below(self) -> int:
        """The upper mount of a snapshot, which is a layer of its containers; else -1."""
        return self._held.root.upper_fd if self._held and self._spec.boot is not None else -1

    def _prepare(self, root: RootSpec, limits: Limits, network: str, done: Done) -> None:
        held = self._machine.ahead(root, limits, network, self.uid_base, self._below())

        def opened(wrong: str) -> None:
            if wrong:
                sys.stderr.write(f"inrush: no berth could be made ahead: {wrong}\n")
            if wrong or self._closing:
                self._machine.release(held)
                done(None)
            else:
                self._fork_ahead(held, done)

        try:
            self._open_berth(held, root, (), opened)
        except OSError:
            self._machine.release(held)
            raise

    def _fork_ahead(self, held: Held, done: Done) -> None:
        """Has the template fork a process into a berth made ahead, where it waits."""
        number = next(self._numbers)

        def waits() -> None:
            done(berth)

        def over() -> None:
            self.berths.lost(berth)
            self._let_go(berth)

        berth = Berth(held, Child(self._machine.loop, number, self._machine.features.pidfd, waits, over))
        self._waiting[number] = berth, done
        end = berth.child.end()
        try:
            order_fork(self._control, number, end, held, ahead=True)
            self._owed.add(number)
        except OSError:
            self._over(number)
        finally:
            os.close(end)

    def _let_go(self, berth: Berth) -> None:
        """Kills the process of a berth, and frees the berth when the process has ended."""
        berth.child.kill(lambda: self._over(berth.child.number))

    def _over(self, number: int) -> None:
        """Frees the berth of a waiting process that has ended."""
        if number not in self._waiting:
            return
        berth, done = self._waiting.pop(number)
        if berth.child.pid:
            self.berths.lost(berth)
        else:
            done(None)
        berth.child.close()
        self._machine.release(berth.held)

    def close(self) -> None:
        """Ends the template when its last container has ended."""
        self._closing = True
        self.berths.close()
        self._end_if_done()

    def _forget(self, fork: Fork) -> None:
        self._forks.pop(fork.number, None)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._closing and not self._forks:
            self._launch.kill()

    def _send(self) -> None:
        while self._unsent and len(self._sent) < _AT_ONCE:
            fork, act = self._unsent[0]
            if not fork.over:
                try:
                    act()
                except BlockingIOError:
                    self._machine.loop.later(_RESEND_S, self._send)
                    return
                except OSError:
                    pass  # the end of the process is reported elsewhere
            self._unsent.popleft()
            if not fork.over and not fork.settled:
                self._sent.add(fork.number)
                fork.sent()

    def _check(self, pid: int, procs: int) -> None:
        filters = int(bool(self._machine.template_filter_code))
        expected = verify.Expected(self._users.app, {}, (os.getpid(),), (), filters)
        group = self._held.group if self._held else None
        verify.alone(verify.process(pid, expected, group), procs, expected)
        self._pids = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def _executed(self) -> None:
        spec = self._spec
        if self._held:
            self._held.root.entered()
        told = {"sys_path": spec.sys_path, "sys_path_end": spec.sys_path_end, "entry": spec.entry, "boot": spec.boot}
        with contextlib.suppress(OSError):
            messages.send(self._control, told)

    def _hear(self) -> None:
        try:
            body, _, _ = messages.receive(self._control, descriptors=0)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            body = None
        if not isinstance(body, dict):
            self._machine.loop.unwatch(self._control.fileno())
            self._machine.loop.later(_LAST_WORDS_S, self._launch.kill)  # by then its init has reported how it ended
            return
        try:
            self._heard(statements.of_template(body))
        except (ValueError, Refused) as error:
            self._failed(Failure("template", f"the template was killed, since its message is malformed: {error}"))
            self._launch.kill()

    def _heard(self, statement: statements.Statement) -> None:
        """A template speaks once of itself, and once of each process that was ordered from it."""
        match statement:
            case statements.SaysUp(up) if self._answer:
                self._up(up)
            case statements.SaysFailed(wrong) if self._answer:
                self._failed(Failure("template", wrong.error, wrong.traceback))
            case statements.SaysExit(number, status) if number in self._owed:
                self._exited(number, status)
            case statements.SaysUnforked(number, error) if number in self._owed:
                self._unforked(number, error)
            case _:
                raise ValueError("it answers nothing")

    def _up(self, up: statements.Up) -> None:
        self._make_room()
        ms, why = (time.monotonic() - self._began) * 1e3, self._held.why if self._held else ""
        memory_mib = round(process.proportional_mib(self._launch.pid), 1)
        self._settle(TemplateUp(self._launch.pid, round(ms, 1), up.threads, up.report, why, memory_mib))

    def _exited(self, number: int, status: int) -> None:
        self._owed.discard(number)
        if fork := self._forks.get(number):
            fork.exited(status)
        self._over(number)

    def _unforked(self, number: int, error: str) -> None:
        if fork := self._forks.get(number):
            fork.fail(Failure("template", f"the template could not fork: {error}"))
        self._exited(number, 0)

    def _make_room(self) -> None:
        """Raises the memory limit for the processes that wait in berths, which begin in the template's group."""
        if self._held and self._held.group and (limit := self._spec.limits.memory_mib):
            limits = replace(self._limits, memory_mib=limit + MAX_READY * CHILD_MIB)
            self._held.group.limit(limits, self._machine.memory_mib)

    def _settle(self, result: TemplateUp | Failure) -> None:
        if self._answer:
            answer, self._answer = self._answer, None
            answer(result)

    def _failed(self, failure: Failure) -> None:
        """Fails a template that is not ready yet. Its key is freed before the failure is reported."""
        if self._answer:
            self._never_up(self)
        self._settle(failure)
        self._closing = True

    def _timed_out(self) -> None:
        if self._answer:
            self._failed(
                Failure("template", f"the template was not ready within {self._spec.timeout_s:g} s, and was killed")
            )
            self._launch.kill()

    def _ended(self, status: int) -> None:
        self._status = status
        oom = bool(self._held and self._held.group and self._held.group.oom_kills())
        how = f"was killed by {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else "ended"
        more = ", out of memory" if oom else ""
        if self._answer:
            self._failed(Failure("template", f"the template {how}{more} before it was ready"))

    def _release(self) -> None:
        self._machine.loop.unwatch(self._control.fileno())
        self._control.close()
        self._unsent.clear()
        self._closing = True
        self.berths.close()
        for number in [*self._forks, *self._waiting]:
            self._exited(number, signal.SIGKILL)
        if self._held:
            self._machine.release(self._held)
            self._held = None
        if self._pids >= 0:
            os.close(self._pids)
            self._pids = -1
        self._gone(self, self._status)
