"""A template, which has no capabilities, forks a process into a berth that trusted code has made; the process then
confines itself and waits until it is told which container it becomes.

It joins all namespaces of the berth with one `setns` on the pidfd of the berth's first process (the door). The kernel
permits that because the template's user made the user namespace that owns them; inside, the process belongs to another
user namespace, which owns nothing. The launcher does not rely on any of this having happened: it verifies the process
from outside before it tells it anything.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inrush.guest import environment
from inrush.linux import confine, messages, namespaces, process, roots

Times = list[tuple[str, float]]
"""Phases of a start, each with the time at which it ended, on the monotonic clock that all processes of the machine
share. The first entry is the time at which the first phase began."""


@dataclass(frozen=True, slots=True)
class Place:
    """A request to fork: its number, the socket on which the child reports, the pidfd of its berth's door, and the
    descriptors through which it joins its control groups. `ahead` says that its container is not known yet."""

    number: int
    report: int
    door: int
    joins: list[int]
    ahead: bool


@dataclass(frozen=True, slots=True)
class Job:
    """What the launcher tells a waiting process about the container that it becomes."""

    env: dict[str, str]
    cwd: str
    hostname: str
    guest: int
    stdout: int
    stderr: int


def place(body: dict[str, Any], fds: list[int]) -> Place:
    """The launcher's message as a `Place`."""
    report, door, *joins = fds
    return Place(int(body["fork"]), report, door, joins, bool(body["ahead"]))


def fork_into(door: int) -> int:
    """Forks a child of this process into a berth. Returns the child's pid, or 0 in the child. Raises `OSError` when the
    kernel refuses to let it join the berth."""
    told, tell = os.pipe2(os.O_CLOEXEC)
    between = os.fork()
    if between == 0:
        if _go_in(door, tell):
            os._exit(0)
        os.close(told)
        os.close(tell)
        return 0
    os.close(tell)
    try:
        pid = int(os.read(told, 32) or -errno.ESRCH)
    finally:
        os.close(told)
        os.waitpid(between, 0)
    if pid < 0:
        raise OSError(-pid, os.strerror(-pid), "joining a berth")
    return pid


def _go_in(door: int, tell: int) -> bool:
    """Joins the namespaces and forks, since only a child enters the pid namespace. Returns False in that child."""
    try:
        namespaces.setns(door, namespaces.ALL)
        pid = namespaces.fork_sibling()
    except OSError as error:
        pid = -(error.errno or errno.EIO)
    if pid:
        os.write(tell, str(pid).encode())
    return bool(pid)


def settle(place: Place, filter_code: bytes, times: Times) -> dict[str, int]:
    """Joins the control groups and gives up all capabilities. Returns descriptors of the files that hold the host name,
    which are written once it is known; none where it is known already.

    The process moves itself into its groups, since moving another process makes the kernel wait for an RCU grace period
    (12 ms).
    """
    os.close(place.door)
    for fd in place.joins:
        os.write(fd, b"0")
        os.close(fd)
    times.append(("groups", time.monotonic()))
    confine.confine(filter_code)
    times.append(("confine", time.monotonic()))
    return roots.unnamed_host() if place.ahead else {}


def wait(report: socket.socket, times: Times, ahead: bool, rehearse: Callable[[], None]) -> Job | None:
    """Reports that this process waits, and blocks until it is told its container; None when it will have none. A
    process forked `ahead` rehearses a start first, and its phases so far do not count as its container's."""
    if ahead:
        environment.replace(dict(os.environ))
        rehearse()
    messages.send(report, {"waits": True})
    body, fds, _ = messages.receive(report)
    if body is None:
        return None
    if ahead:
        times.clear()
    times.insert(0, ("ask", body["asked"]))
    times.append(("berth" if ahead else "verify", time.monotonic()))
    guest, stdout, stderr = fds
    return Job(body["env"], body["cwd"], body["hostname"], guest, stdout, stderr)


def become(job: Job, names: dict[str, int], report: socket.socket, times: Times) -> socket.socket:
    """Turns this process into the container of `job`, reports it ready, and returns the socket on which to serve."""
    roots.name_host(names, job.hostname)
    _take_stdio(job)
    environment.replace(job.env)
    process.work_in(job.cwd)
    times.append(("become", time.monotonic()))
    phases = [(name, round((at - before) * 1e3, 3)) for (name, at), (_, before) in zip(times[1:], times, strict=False)]
    messages.send(report, {"ready": phases})
    report.close()
    return socket.socket(fileno=job.guest)


def _take_stdio(job: Job) -> None:
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for target, fd in enumerate((null, job.stdout, job.stderr)):
        os.dup2(fd, target, inheritable=True)
        os.close(fd)
    os.setsid()
