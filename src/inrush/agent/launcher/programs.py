"""Containers that execute a program, and further programs in running containers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from inrush.agent.launcher import spawn, trees, verify
from inrush.agent.launcher.cgroups import Group
from inrush.agent.launcher.launch import Failure, Launch, Phases
from inrush.agent.launcher.machine import Held, Machine
from inrush.agent.launcher.specs import EnterSpec, Exited, RunSpec, Started, Usage
from inrush.linux import caps, roots

Answer = Callable[[Started | Failure], None]
_MIB = 1 << 20


@dataclass(slots=True)
class Container:
    """What the launcher knows of a container or of a program entered into one. `pid` is its first process, as the
    host counts.
    """

    id: str
    kill: Callable[[], None]
    ended: Callable[[Exited], None]
    forget: Callable[[], None]
    held: Held | None = None
    group: Group | None = None
    uid_base: int = 0
    pid: int = 0
    started: bool = False
    killed: bool = field(default=False)

    def end(self, status: int) -> None:
        """Report the end, with what it used."""
        usage = self.group.usage() if self.group and self.held else Usage()
        oom = bool(status and self.group and self.group.oom_kills())
        code, signum = (-1, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (os.WEXITSTATUS(status), 0)
        self.ended(
            Exited(self.id, code if code >= 0 else 128 + signum, signum, oom, usage.cpu_s, usage.memory_peak_mib)
        )


def run(machine: Machine, spec: RunSpec, stdio: tuple[int, int, int], container: Container, answer: Answer) -> None:
    """Start a container that executes a program; raises `OSError` where it cannot even begin."""
    keep = caps.BUILD if spec.caps == "build" else ()
    filter_code = machine.build_filter_code if keep else machine.filter_code
    held = machine.hold(spec.id, spec.root, spec.limits, spec.network, spec.uid_base)
    container.held, container.group, container.uid_base = held, held.group, spec.uid_base
    userns = machine.users.get(spec.uid_base)

    def check(pid: int) -> None:
        verify.process(pid, userns, held.group, [os.getpid()], keep, bool(filter_code))
        container.pid = pid

    launch = Launch(machine.loop, check)
    container.kill = launch.kill
    follow(launch, container, answer, held.why)
    launch.gone = lambda: _gone(machine, held, spec, container)
    joins = held.joins()
    sandbox = spawn.Sandbox(
        held.root,
        userns,
        joins,
        held.net.fd if held.net else -1,
        spec.root.hostname,
        roots.relative(spec.devices),
        spec.root.disk_mib,
    )
    program = spawn.Program(spec.argv, spec.env, spec.cwd, stdio, spec.tty, keep, filter_code)
    try:
        launch.begin(lambda report, status: spawn.start(sandbox, program, report, status))
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
    """Execute a further program in a running container."""
    group, userns = into.group, machine.users.get(into.uid_base)
    container.group = group

    def check(pid: int) -> None:
        verify.process(pid, userns, group, [os.getpid()])
        container.pid = pid

    launch = Launch(machine.loop, check)
    container.kill = launch.kill
    follow(launch, container, answer, "")
    launch.gone = container.forget
    joins = group.open_joins() if group else []
    program = spawn.Program(spec.argv, spec.env, spec.cwd, stdio, spec.tty, (), machine.filter_code)
    try:
        launch.begin(lambda report, status: spawn.enter(into.pid, joins, program, report))
    finally:
        for fd in joins:
            os.close(fd)


def follow(launch: Launch, container: Container, answer: Answer, why: str) -> None:
    """Answer the request when the launch has settled, and report the end."""

    def up(pid: int, phases: Phases) -> None:
        container.started = True
        answer(Started(pid, phases, why))

    launch.up = up
    launch.failed = answer
    launch.ended = container.end


def _gone(machine: Machine, held: Held, spec: RunSpec, container: Container) -> None:
    machine.release(held)
    if spec.root.upper:
        trees.forget_mount_points(spec.root.upper, [bind.dst for bind in spec.root.binds])
    container.forget()
