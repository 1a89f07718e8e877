"""Starts a program in a container of its own, by three processes:

    launcher ── fork ──▶ setup: makes the root, enters a user namespace of the app, unshares all other namespaces
               ── clone(PARENT) ──▶ init: pid 1 of the container, but a child of the launcher, and dies with it;
                                    locks the mounts, then reaps
                          ── fork ──▶ first: joins the control groups, drops its privileges, reports "ready", waits
                                      for "go", executes the program

The user namespace `owner`, in which no untrusted code runs, owns the container's namespaces; the program runs in the
user namespace below it. A template's namespaces belong to the user namespace `app`, in which it has no capabilities;
its user owns the user namespaces below, so it can join berths.

These processes are forks of the launcher and share its memory image; the only exec is that of the program. It happens
after the launcher has verified the process from outside. `first` keeps the report socket open until exec closes it, so
an end without an error means success.
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
from inrush.launcher.specs import Terminal
from inrush.linux import confine, descriptors, messages, mounts, namespaces, process, roots, terminals

Spent = list[tuple[str, float]]
"""Phases of a start, with the milliseconds that each took."""

_DEFAULTS = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGQUIT)
"""Signals that a program gets as in any process. A shell may have had the server ignore the last two."""
_OWNED = namespaces.NEWPID | namespaces.NEWIPC | namespaces.NEWUTS
_NS_ORDER = ("pid", "ipc", "uts", "cgroup", "net", "mnt", "user")
"""The order in which namespaces are joined. The user namespace is last, since a process in it may not join the
others."""


@dataclass(slots=True)
class Program:
    """A program to execute. `keep` are the capabilities that it keeps, in a user namespace that owns nothing. With
    `terminal`, its stdio is a socket, to which the controlling side of the terminal is sent that becomes its stdio."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    stdio: tuple[int, int, int]
    terminal: Terminal | None = None
    keep: tuple[str, ...] = ()
    filter_code: bytes = b""
    inherit: int = -1
    """A descriptor that the program gets as its descriptor 3; -1 for none."""


@dataclass(slots=True)
class Ground:
    """Where to execute a program. `owner` is the user namespace that owns the other namespaces, and `inner` the one in
    which the program runs. `netns` is -1 for a new network namespace with only loopback. `user` is user 0 of the app as
    the launcher sees it."""

    root: Root
    owner: int
    inner: int
    user: int
    beneath: roots.Beneath
    joins: list[int] = field(default_factory=list)
    netns: int = -1
    hostname: str = ""
    devices: tuple[str, ...] = ()
    tmp_mib: int | None = None
    burn: bool = False
    """Whether to use up pid 2, so that a template is pid 3 and its forks, which are pid 2, notice that their pid
    changed."""


def start(ground: Ground, program: Program, report: socket.socket, status: int) -> int:
    """Forks the setup process, and returns its pid. `init` writes the program's wait status to the pipe `status` when
    the program ends."""
    pid = os.fork()
    if pid == 0:
        _guarded(report, "setting the container up", lambda: _setup(ground, program, report, status))
    return pid


def _guarded(report: socket.socket, doing: str, act: Callable[[], None]) -> None:
    """Runs `act`, reports what it raises, and ends this process."""
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


def _setup(ground: Ground, program: Program, report: socket.socket, status: int) -> None:
    began = time.monotonic()
    process.die_with_parent()
    nodes = roots.take_nodes((*roots.NODES, *ground.devices))
    namespaces.unshare(namespaces.NEWNS)
    mounts.make_private()
    roots.enter(ground.root.fd, ground.root.binds, nodes, ground.tmp_mib, ground.user, ground.beneath)
    entered = time.monotonic()
    namespaces.setns(ground.owner, namespaces.NEWUSER)
    namespaces.become_root()
    namespaces.unshare(_OWNED | (namespaces.NEWNET if ground.netns < 0 else 0))
    if ground.netns >= 0:
        namespaces.setns(ground.netns, namespaces.NEWNET)
    pid = namespaces.fork_sibling()
    if pid == 0:
        spent = [("root", _ms(began, entered))]
        _guarded(report, "making the container", lambda: _init(ground, program, report, status, spent))
    messages.send(report, {"init": pid})
    os._exit(0)


def _init(ground: Ground, program: Program, report: socket.socket, status: int, spent: Spent) -> None:
    began = time.monotonic()
    process.die_with_parent()
    messages.send(report, {"alive": True})  # fails if the launcher died before `die_with_parent`, and then this process
    # ends too
    if ground.hostname:
        namespaces.set_hostname(ground.hostname)
    roots.lock()
    messages.send(report, {"procs": True}, [procs := os.open("/proc", os.O_RDONLY | os.O_CLOEXEC)])
    os.close(procs)
    spent = [*spent, ("namespaces", _ms(began, time.monotonic()))]
    if ground.burn:
        _burn()
    pid = os.fork()
    if pid == 0:
        _guarded(report, f"executing {program.argv[0]}", lambda: _first(ground, program, report, spent))
    process.hide_memory()  # it is a copy of the launcher's
    process.set_title("inrush-init")
    process.close_descriptors({status, report.fileno(), ground.inner})
    if ground.inner != ground.owner:
        namespaces.setns(ground.inner, namespaces.NEWUSER)
        process.die_with_parent()
    os.close(ground.inner)
    confine.confine(program.filter_code)
    messages.send(report, {"kept": True})  # fails if the launcher has died, and then this process ends
    report.close()
    _reap_until(pid, status)


def _burn() -> None:
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _first(ground: Ground, program: Program, report: socket.socket, spent: Spent) -> None:
    """Joins the control groups, and executes the program. Init and the setup stay outside of the groups, so that the
    start itself does not count for the container, nor wait for its share of the processor."""
    began = time.monotonic()
    for fd in ground.joins:
        os.write(fd, b"0")
    namespaces.unshare(namespaces.NEWCGROUP)
    if ground.inner != ground.owner:
        namespaces.setns(ground.inner, namespaces.NEWUSER)
    execute(program, report, [*spent, ("groups", _ms(began, time.monotonic()))])


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
    """Forks a process that executes `program` in the namespaces of `pid`. Returns the pid of the process that joins
    them."""
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


def execute(program: Program, report: socket.socket, phases: Spent) -> None:
    """Executes the program in this process. It does not return, and raises whatever fails before the exec."""
    os.setsid()
    _arrange(program)
    process.close_descriptors({report.fileno(), *([3] if program.inherit >= 0 else [])})
    for signum in _DEFAULTS:
        signal.signal(signum, signal.SIG_DFL)
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_NOFILE, descriptors.GIVEN)
    confine.confine(program.filter_code, program.keep)
    messages.send(report, {"ready": phases})
    if messages.receive(report).body is None:
        os._exit(71)
    process.work_in(program.cwd or "/")
    _exec(program)


def _arrange(program: Program) -> None:
    """Moves the program's descriptors to 0, 1, 2 and, with `inherit`, 3."""
    stdio = program.stdio if program.terminal is None else _terminal(program.terminal, program.stdio[0])
    wanted = [*stdio, *([program.inherit] if program.inherit >= 0 else [])]
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in wanted]
    for target, fd in enumerate(high):
        os.dup2(fd, target, inheritable=True)
    if program.terminal is not None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _terminal(size: Terminal, channel: int) -> tuple[int, int, int]:
    """Makes a terminal in the container, and sends its controlling side to whoever has the other end of `channel`."""
    ours, theirs = terminals.make(size.rows, size.columns)
    with socket.socket(fileno=os.dup(channel)) as end:
        messages.send(end, {"terminal": True}, [ours], wait=False)
    os.close(ours)
    return theirs, theirs, theirs


def _exec(program: Program) -> None:
    """Executes the program, found on `PATH`. The error is that of the last candidate that exists."""
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
