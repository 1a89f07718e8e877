"""Starts containers that execute a program, and executes further programs in running containers."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from inrush.launcher import spawn, trees, verify
from inrush.launcher.cgroups import Group
from inrush.launcher.launch import Failure, Launch, Phases
from inrush.launcher.machine import Held, Machine
from inrush.launcher.specs import EnterSpec, Exited, RunSpec, Started, Usage
from inrush.linux import caps, namespaces, roots

Answer = Callable[[Started | Failure], None]
_MIB = 1 << 20


@dataclass(slots=True)
class Container:
    """The launcher's record of a container, or of a program entered into one. `pid` is the id of its first process on
    the host; 0 until it is known."""

    id: str
    kill: Callable[[], None]
    ended: Callable[[Exited], None]
    forget: Callable[[], None]
    held: Held | None = None
    group: Group | None = None
    uid_base: int = 0
    pid: int = 0
    pidfd: int = -1
    killed: bool = False

    def identify(self, pid: int, pidfds: bool) -> None:
        """Notes its first process, and opens a pidfd, since a pid can be reused after the process has ended."""
        self.pid = pid
        if pidfds:
            self.pidfd = os.pidfd_open(pid)

    def signal(self, signum: int) -> None:
        """Sends a signal to its first process, if that has not ended."""
        with contextlib.suppress(ProcessLookupError):
            if self.pidfd >= 0:
                signal.pidfd_send_signal(self.pidfd, signum)
            elif self.pid:
                os.kill(self.pid, signum)

    def close(self) -> None:
        """Removes the record of a container that has ended."""
        self.pid = 0
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        self.forget()

    def end(self, status: int) -> None:
        """Reports the end, with the resources that it used."""
        usage = self.group.usage() if self.group and self.held else Usage()
        oom = bool(status and self.group and self.group.oom_kills())
        code, signum = exit_of(status)
        self.ended(Exited(self.id, code, signum, oom, usage.cpu_s, usage.memory_peak_mib))


def exit_of(status: int) -> tuple[int, int]:
    """(exit code, signal) of a wait status. If a signal ended the process, the code is 128 plus its number, as in a
    shell."""
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status), os.WTERMSIG(status)
    return os.WEXITSTATUS(status), 0


def run(machine: Machine, spec: RunSpec, stdio: tuple[int, int, int], container: Container, answer: Answer) -> None:
    """Starts a container that executes a program. Raises `OSError` if it cannot begin."""
    keep = caps.BUILD if spec.caps == "build" else ()
    filter_code = machine.build_filter_code if keep else machine.filter_code
    held = machine.hold(spec.id, spec.root, spec.limits, spec.network, spec.uid_base)
    container.held, container.group, container.uid_base = held, held.group, spec.uid_base
    users = machine.users.get(spec.uid_base)
    place = {"net": namespaces.identity_of(held.net.fd)} if held.net else {}
    expected = verify.Expected(users.inner, place, (os.getpid(),), keep, int(bool(filter_code)))

    def check(pid: int, procs: int) -> None:
        container.identify(pid, machine.features.pidfd)
        verify.alone(verify.process(pid, expected, held.group), procs, expected)

    launch = Launch(machine.loop, check, alone=True)
    container.kill = launch.kill
    follow(launch, container, answer, held)
    launch.gone = lambda: _gone(machine, held, spec, container)
    joins = held.joins()
    ground = spawn.Ground(
        held.root,
        users.owner,
        users.inner,
        machine.users.base(spec.uid_base),
        machine.beneath,
        joins,
        held.net.fd if held.net else -1,
        spec.root.hostname,
        roots.relative(spec.devices),
        spec.root.disk_mib,
    )
    program = spawn.Program(spec.argv, spec.env, spec.cwd, stdio, None, keep, filter_code)
    try:
        launch.begin(lambda report, status: spawn.start(ground, program, report, status))
    except OSError:
        machine.release(held)
        raise
    finally:
        for fd in joins:
            os.close(fd)


def enter(
    machine: Machine,
    spec: EnterSpec,
    into: Container,
    stdio: tuple[int, int, int],
    container: Container,
    answer: Answer,
) -> None:
    """Executes a further program in a running container."""
    container.group = group = into.group
    inner = machine.users.get(into.uid_base).inner
    place = {kind: namespaces.identity(kind, into.pid) for kind in namespaces.KINDS}
    expected = verify.Expected(inner, place, (), (), int(bool(machine.filter_code)))

    def check(pid: int, procs: int) -> None:
        container.identify(pid, machine.features.pidfd)
        verify.process(pid, expected, group)

    launch = Launch(machine.loop, check)
    container.kill = launch.kill
    follow(launch, container, answer, None)
    launch.gone = container.close
    joins = group.open_joins() if group else []
    program = spawn.Program(spec.argv, spec.env, spec.cwd, stdio, spec.terminal, (), machine.filter_code)
    try:
        launch.begin(lambda report, status: spawn.enter(into.pid, joins, program, report))
    finally:
        for fd in joins:
            os.close(fd)


def follow(launch: Launch, container: Container, answer: Answer, held: Held | None) -> None:
    """Answers the request when the launch has succeeded or failed, and reports the end."""

    def up(pid: int, phases: Phases) -> None:
        if held:
            held.root.entered()
        answer(Started(pid, phases, held.why if held else ""))

    launch.up = up
    launch.failed = answer
    launch.ended = container.end


def _gone(machine: Machine, held: Held, spec: RunSpec, container: Container) -> None:
    kept, held.root.sealing_fd = held.root.sealing_fd, -1
    machine.release(held)
    if spec.root.upper:
        machine.seals.end(spec.root.upper, kept)
        with contextlib.suppress(OSError):  # the agent may have removed it meanwhile
            upper = machine.places.directory(spec.root.upper)
            try:
                trees.forget_mount_points(upper, [bind.dst for bind in spec.root.binds])
            finally:
                os.close(upper)
    container.close()
