"""What a process just forked from a template does to itself, before it serves: its own groups, namespaces, root
and output, and no rights.

The launcher does not believe that this happened: it looks, from outside, before the container gets its first
input.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inrush.linux import confine, links, messages, namespaces, process, roots

_OWN = namespaces.NEWNS | namespaces.NEWIPC | namespaces.NEWUTS
_SANDBOX = (namespaces.NEWNET, namespaces.NEWIPC, namespaces.NEWUTS, namespaces.NEWNS)
"""In this order the launcher sends them; with the last the root changes."""


@dataclass(frozen=True, slots=True)
class Job:
    """A request to fork, with its descriptors sorted out."""

    id: str
    env: dict[str, str]
    cwd: str
    hostname: str
    tmp_mib: int | None
    asked: float
    report: int
    guest: int
    stdout: int
    stderr: int
    root: int
    sandbox: Sequence[int]
    joins: Sequence[int]
    netns: int
    binds: Sequence[tuple[int, str, bool]]
    devices: dict[str, int]


def job(body: dict[str, Any], fds: list[int]) -> Job:
    """The launcher's message as a `Job`. Descriptors come as four fixed ones, then a root or the namespaces of a
    sandbox, then joins, network, binds, devices.
    """
    report, guest, stdout, stderr, *rest = fds
    kinds = len(_SANDBOX) if body["sandbox"] else 0
    sandbox, rest = rest[:kinds], rest[kinds:]
    root = -1 if sandbox else rest.pop(0)
    joins, rest = rest[: body["joins"]], rest[body["joins"] :]
    netns = rest.pop(0) if body["netns"] else -1
    binds = [(rest.pop(0), path, is_directory) for path, is_directory in body["binds"]]
    devices = dict(zip(body["devices"], rest, strict=True))
    return Job(
        body["fork"], body["env"], body["cwd"], body["hostname"], body["tmp_mib"], body["asked"],
        report, guest, stdout, stderr, root, sandbox, joins, netns, binds, devices,
    )  # fmt: skip


def isolate(job: Job, filter_code: bytes, forked: float) -> socket.socket:
    """Do all of it, tell the launcher, and return the socket to serve."""
    clock = time.monotonic
    times = [("ask", job.asked), ("fork", forked)]
    if job.sandbox:
        _join_sandbox(job)
        times.append(("sandbox", clock()))
    else:
        _leave_namespaces(job)
        times.append(("namespaces", clock()))
        nodes = {**roots.take_nodes(), **job.devices} if job.devices else None
        roots.enter(job.root, job.binds, nodes, job.tmp_mib, sealed=True)
        os.close(job.root)
        times.append(("root", clock()))
    _join_groups(job)
    times.append(("groups", clock()))
    _take_stdio(job)
    _take_environment(job.env)
    confine.confine(filter_code, bounded=True)
    process.work_in(job.cwd)
    times.append(("confine", clock()))
    phases = [(name, round((at - before) * 1e3, 3)) for (name, at), (_, before) in zip(times[1:], times, strict=False)]
    with socket.socket(fileno=job.report) as report:
        messages.send(report, {"ready": phases})
    return socket.socket(fileno=job.guest)


def _join_groups(job: Job) -> None:
    """Late, so that on a busy machine a container does not start on its own small share of the processor."""
    for fd in job.joins:
        os.write(fd, b"0")
        os.close(fd)
    namespaces.unshare(namespaces.NEWCGROUP)


def _join_sandbox(job: Job) -> None:
    """All was made before, but /proc, which shows the pid namespace of who makes it."""
    proc = roots.detached_proc()
    for fd, flag in zip(job.sandbox, _SANDBOX, strict=True):
        namespaces.setns(fd, flag)
        os.close(fd)
    roots.show_proc(proc, sealed=True)
    if job.hostname:
        namespaces.set_hostname(job.hostname)
        roots.name_host(job.hostname)


def _leave_namespaces(job: Job) -> None:
    if job.netns >= 0:
        namespaces.unshare(_OWN)
        namespaces.setns(job.netns, namespaces.NEWNET)
        os.close(job.netns)
    else:
        namespaces.unshare(_OWN | namespaces.NEWNET)
        links.loopback_up()
    if job.hostname:
        namespaces.set_hostname(job.hostname)


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
