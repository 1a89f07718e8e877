"""What a process just forked from a template does to itself, before it serves, in two steps: it goes to its place
(its own namespaces and root), and it becomes a container (its own groups and output, and no rights).

A place that was made ahead gets its process ahead too, which waits between the two steps for its `Job`. The launcher
does not believe that any of it happened: it looks, from outside, before the container gets its first input.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from inrush.linux import confine, links, messages, namespaces, process, roots

_OWN = namespaces.NEWNS | namespaces.NEWIPC | namespaces.NEWUTS
_SANDBOX = (namespaces.NEWNET, namespaces.NEWIPC, namespaces.NEWUTS, namespaces.NEWNS)
"""In this order the launcher sends them; with the last the root changes."""

Times = list[tuple[str, float]]
"""Phases, each with the time of its end; the first is where they begin, on the clock that all processes share."""


@dataclass(frozen=True, slots=True)
class Place:
    """A request to fork, with its descriptors sorted out: `sandbox` to join, or what to make a place of."""

    number: int
    report: int
    sandbox: Sequence[int]
    root: int
    netns: int
    binds: Sequence[tuple[int, str, bool]]
    devices: dict[str, int]
    tmp_mib: int | None


@dataclass(frozen=True, slots=True)
class Job:
    """The container to become."""

    env: dict[str, str]
    cwd: str
    hostname: str
    guest: int
    stdout: int
    stderr: int
    joins: Sequence[int]


def place(body: dict[str, Any], fds: list[int]) -> Place:
    """The launcher's message as a `Place`. Descriptors come as the report's, then a root or the namespaces of a
    sandbox, then network, binds, devices.
    """
    report, *rest = fds
    kinds = len(_SANDBOX) if body["sandbox"] else 0
    sandbox, rest = rest[:kinds], rest[kinds:]
    root = -1 if sandbox else rest.pop(0)
    netns = rest.pop(0) if body["netns"] else -1
    binds = [(rest.pop(0), path, is_directory) for path, is_directory in body["binds"]]
    devices = dict(zip(body["devices"], rest, strict=True))
    return Place(int(body["fork"]), report, sandbox, root, netns, binds, devices, body["tmp_mib"])


def go_to(place: Place, times: Times) -> dict[str, int]:
    """The first step. Returns files that are written when the container's name is known, where that was not before."""
    if place.sandbox:
        _join_sandbox(place.sandbox)
        return roots.unnamed_host()
    _leave_namespaces(place.netns)
    times.append(("namespaces", time.monotonic()))
    nodes = {**roots.take_nodes(), **place.devices} if place.devices else None
    roots.enter(place.root, place.binds, nodes, place.tmp_mib, sealed=True)
    os.close(place.root)
    times.append(("root", time.monotonic()))
    return {}


def wait(report: socket.socket, times: Times, rehearse: Callable[[], None]) -> Job | None:
    """The container to become; None where there will be none. Who finds no job yet rehearses, says that it waits, and
    what it did before is not of the container's time."""
    try:
        body, fds, _ = messages.receive(report, wait=False)
    except BlockingIOError:
        _take_environment(dict(os.environ))
        rehearse()
        messages.send(report, {"waits": True})
        body, fds, _ = messages.receive(report)
        times[:] = [("sandbox", time.monotonic())]
    if body is None:
        return None
    times.insert(0, ("ask", body["asked"]))
    guest, stdout, stderr, *joins = fds
    return Job(body["env"], body["cwd"], body["hostname"], guest, stdout, stderr, joins)


def become(job: Job, names: dict[str, int], report: socket.socket, filter_code: bytes, times: Times) -> socket.socket:
    """The second step: do all that is left, tell the launcher, and return the socket to serve."""
    clock = time.monotonic
    if job.hostname:
        namespaces.set_hostname(job.hostname)
    roots.name_host(names, job.hostname)
    _join_groups(job)
    times.append(("groups", clock()))
    _take_stdio(job)
    _take_environment(job.env)
    confine.confine(filter_code, bounded=True)
    process.work_in(job.cwd)
    times.append(("confine", clock()))
    phases = [(name, round((at - before) * 1e3, 3)) for (name, at), (_, before) in zip(times[1:], times, strict=False)]
    messages.send(report, {"ready": phases})
    report.close()
    return socket.socket(fileno=job.guest)


def _join_groups(job: Job) -> None:
    """Late, so that on a busy machine a container does not start on its own small share of the processor."""
    for fd in job.joins:
        os.write(fd, b"0")
        os.close(fd)
    namespaces.unshare(namespaces.NEWCGROUP)


def _join_sandbox(sandbox: Sequence[int]) -> None:
    """All was made before, but /proc, which shows the pid namespace of who makes it."""
    proc = roots.detached_proc()
    for fd, flag in zip(sandbox, _SANDBOX, strict=True):
        namespaces.setns(fd, flag)
        os.close(fd)
    roots.show_proc(proc, sealed=True)


def _leave_namespaces(netns: int) -> None:
    if netns >= 0:
        namespaces.unshare(_OWN)
        namespaces.setns(netns, namespaces.NEWNET)
        os.close(netns)
    else:
        namespaces.unshare(_OWN | namespaces.NEWNET)
        links.loopback_up()


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
