"""How a template, which has no rights, forks a process into a berth that trusted code has made, and what that process
does before it serves.

The way in is one `setns` by the pidfd of the berth's first process, for all namespaces at once: the kernel checks it
against the template, whose user owns them from outside, and a process that has come in is of a user namespace that owns
nothing. There it gives up all rights, waits, and is told what container it becomes. The launcher does not believe that
any of it happened: it looks, from outside, before it tells.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inrush.linux import confine, messages, namespaces, process, roots

Times = list[tuple[str, float]]
"""Phases, each with the time of its end; the first is where they begin, on the clock that all processes share."""


@dataclass(frozen=True, slots=True)
class Place:
    """A request to fork: its number, the socket on which the child reports, the pidfd of its berth's door, and the
    descriptors by which it joins the container's control groups. `ahead`: its container is not known yet."""

    number: int
    report: int
    door: int
    joins: list[int]
    ahead: bool


@dataclass(frozen=True, slots=True)
class Job:
    """The container to become."""

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
    """Fork a child of this process into a berth: its pid, or 0 in it. Raises `OSError` where it may not come in."""
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
    """Join the namespaces, and fork: only a child is in the pid namespace. False in that child."""
    try:
        namespaces.setns(door, namespaces.ALL)
        pid = namespaces.fork_sibling()
    except OSError as error:
        pid = -(error.errno or errno.EIO)
    if pid:
        os.write(tell, str(pid).encode())
    return bool(pid)


def settle(place: Place, filter_code: bytes, times: Times) -> dict[str, int]:
    """Join the groups and give up all rights. Returns files that are written when the container's name is known, where
    that is not yet.

    A process moves itself, since the kernel moves another one under a lock that waits for an RCU grace period (12 ms).
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
    """Say that one waits, and wait for the container to become; None where there will be none. Who comes `ahead` of its
    container rehearses, and what it did before is not of the container's time."""
    if ahead:
        _take_environment(dict(os.environ))
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
    """Be the container that was told, say so, and return the socket to serve."""
    roots.name_host(names, job.hostname)
    _take_stdio(job)
    _take_environment(job.env)
    process.work_in(job.cwd)
    times.append(("become", time.monotonic()))
    phases = [(name, round((at - before) * 1e3, 3)) for (name, at), (_, before) in zip(times[1:], times, strict=False)]
    messages.send(report, {"ready": phases})
    report.close()
    return socket.socket(fileno=job.guest)


def _take_environment(env: dict[str, str]) -> None:
    """Exactly `env`, touching only what differs: every page written after a fork is a page copied."""
    for name in os.environ.keys() - env.keys():
        del os.environ[name]
    for name, value in env.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _take_stdio(job: Job) -> None:
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for target, fd in enumerate((null, job.stdout, job.stderr)):
        os.dup2(fd, target, inheritable=True)
        os.close(fd)
    os.setsid()
