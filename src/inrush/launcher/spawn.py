"""From the launcher to a program in a container of its own: three processes, each with one task.

    launcher ── fork ──▶ setup: enters the app's user namespace, leaves all others
               ── clone(PARENT) ──▶ init: pid 1 of the container, but a child of the launcher, and dies with it;
                                    makes the root, then reaps
                          ── fork ──▶ first: joins the groups, gives up its privileges, says "ready", waits for
                                      "go", executes the program

Only fork, no exec, until the program: what these processes hold in memory is the launcher's own image. The program
is executed after the launcher has verified its process from outside. `first` keeps the report socket open until exec
closes it: its end means success.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import socket
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from inrush.launcher.overlay import Root
from inrush.linux import confine, links, messages, mounts, namespaces, process, roots

DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)
"""The limit of open descriptors that programs get; the launcher raises its own, as it holds some for each container."""

_ALL = namespaces.NEWNS | namespaces.NEWPID | namespaces.NEWIPC | namespaces.NEWUTS
_NS_ORDER = ("user", "pid", "ipc", "uts", "cgroup", "net", "mnt")


@dataclass(slots=True)
class Program:
    """What to execute, and with what. `keep` are capabilities. `template` means: with all capabilities in its user
    namespace, under a filter only.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    stdio: tuple[int, int, int]
    tty: bool = False
    keep: tuple[str, ...] = ()
    filter_code: bytes = b""
    template: bool = False
    inherit: int = -1
    """A descriptor that the program gets as number 3."""


@dataclass(slots=True)
class Sandbox:
    """Where to execute it. `netns` -1 means: a new one, with only loopback."""

    root: Root
    userns: int
    joins: list[int] = field(default_factory=list)
    netns: int = -1
    hostname: str = ""
    devices: tuple[str, ...] = ()
    tmp_mib: int | None = None


def start(sandbox: Sandbox, program: Program, report: socket.socket, status: int) -> int:
    """Fork the setup process; returns its pid. `init` writes the program's wait status to the pipe `status` when it
    ends.
    """
    pid = os.fork()
    if pid == 0:
        _guarded(report, "setting the container up", lambda: _setup(sandbox, program, report, status))
    return pid


def _guarded(report: socket.socket, doing: str, act: Callable[[], None]) -> None:
    """Run `act`, report what it raises, and end this process."""
    try:
        signal.set_wakeup_fd(-1)
        act()
    except OSError as error:
        with contextlib.suppress(OSError):
            where = f": {error.filename}" if error.filename else ""
            messages.send(report, {"error": f"{doing}: {error.strerror or error}{where}", "errno": error.errno})
    except BaseException as error:
        with contextlib.suppress(OSError):
            messages.send(report, {"error": f"{doing}: {type(error).__name__}: {error}"})
    finally:
        os._exit(70)


def _setup(sandbox: Sandbox, program: Program, report: socket.socket, status: int) -> None:
    began = time.monotonic()
    namespaces.setns(sandbox.userns, namespaces.NEWUSER)
    namespaces.become_root()
    process.die_with_parent()
    namespaces.unshare(_ALL | (namespaces.NEWNET if sandbox.netns < 0 else 0))
    if sandbox.netns >= 0:
        namespaces.setns(sandbox.netns, namespaces.NEWNET)
    pid = namespaces.fork_sibling()
    if pid == 0:
        _guarded(report, "making the container's root", lambda: _init(sandbox, program, report, status, began))
    messages.send(report, {"init": pid})
    os._exit(0)


def _init(sandbox: Sandbox, program: Program, report: socket.socket, status: int, began: float) -> None:
    process.die_with_parent()
    messages.send(report, {"alive": True})  # fails if the launcher died before the line above: then so do we
    left = time.monotonic()
    links.loopback_up()
    if sandbox.hostname:
        namespaces.set_hostname(sandbox.hostname)
    mounts.make_private()
    nodes = roots.take_nodes((*roots.NODES, *sandbox.devices))
    roots.enter(sandbox.root.fd, sandbox.root.binds, nodes, sandbox.tmp_mib, sealed=not program.template)
    pid = os.fork()
    if pid == 0:
        phases = [("namespaces", _ms(began, left)), ("root", _ms(left, time.monotonic()))]
        _guarded(report, f"executing {program.argv[0]}", lambda: _first(sandbox, program, report, phases))
    report.close()
    process.set_title("inrush-init")
    process.close_descriptors({status})
    confine.confine(b"")
    _reap_until(pid, status)


def _first(sandbox: Sandbox, program: Program, report: socket.socket, phases: list[tuple[str, float]]) -> None:
    """Join the groups, late and without init: what a start costs is not the container's, nor waits for its share."""
    began = time.monotonic()
    for fd in sandbox.joins:
        os.write(fd, b"0")
    namespaces.unshare(namespaces.NEWCGROUP)
    execute(program, report, [*phases, ("groups", _ms(began, time.monotonic()))])


def _ms(began: float, ended: float) -> float:
    return round((ended - began) * 1e3, 3)


def _reap_until(main: int, status: int) -> None:
    for fd in range(3):
        with contextlib.suppress(OSError):
            os.close(fd)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    while True:
        pid, code = os.wait()
        if pid == main:
            os.write(status, str(code).encode())
            os._exit(0)


def enter(pid: int, joins: list[int], program: Program, report: socket.socket) -> int:
    """Fork a process that executes `program` in the namespaces of `pid`; returns the pid of the process that does
    the joining.
    """
    joiner = os.fork()
    if joiner == 0:
        _guarded(report, "entering the container", lambda: _enter(pid, joins, program, report))
    return joiner


def _enter(pid: int, joins: list[int], program: Program, report: socket.socket) -> None:
    fds = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in _NS_ORDER]
    process.hide_memory()
    for fd in joins:
        os.write(fd, b"0")
    for fd in fds:
        namespaces.setns(fd)
    namespaces.become_root()
    child = namespaces.fork_sibling()
    if child == 0:
        process.die_with_parent()
        _guarded(report, f"executing {program.argv[0]}", lambda: execute(program, report, []))
    messages.send(report, {"init": child})
    os._exit(0)


def execute(program: Program, report: socket.socket, phases: list[tuple[str, float]]) -> None:
    """Become the program. Does not return; raises what went wrong before exec."""
    os.setsid()
    _arrange(program)
    process.close_descriptors({report.fileno(), *([3] if program.inherit >= 0 else [])})
    for signum in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(signum, signal.SIG_DFL)
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_NOFILE, DESCRIPTORS)
    if program.template:
        confine.filter_only(program.filter_code)
    else:
        confine.confine(program.filter_code, program.keep)
    messages.send(report, {"ready": phases})
    if messages.receive(report).body is None:
        os._exit(71)
    process.work_in(program.cwd or "/")
    _exec(program)


def _arrange(program: Program) -> None:
    """Descriptors 0, 1, 2 and perhaps 3, from wherever they are now."""
    wanted = [*program.stdio, *([program.inherit] if program.inherit >= 0 else [])]
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in wanted]
    for target, fd in enumerate(high):
        os.dup2(fd, target, inheritable=True)
    if program.tty:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _exec(program: Program) -> None:
    """execvpe, but the error is that of the last candidate that exists."""
    name = program.argv[0]
    path = program.env.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    candidates = [name] if "/" in name else [f"{d or '.'}/{name}" for d in path.split(":")]
    failure = FileNotFoundError(2, "no such program in the image", name)
    for candidate in candidates:
        try:
            os.execve(candidate, program.argv, program.env)  # noqa: S606 (no shell is wanted)
        except FileNotFoundError:
            continue
        except OSError as error:
            failure = error  # type: ignore[assignment]
    raise failure
