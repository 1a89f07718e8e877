"""Features of the kernel and the machine, found by trying them, and what the launcher does without each.

`INRUSH_WITHOUT`, a list of the names below separated by commas, makes the launcher behave as if features were missing:
tests force every fallback by it, and an operator can avoid a broken feature.

| name | since | without it |
|---|---|---|
| overlay_fd | Linux 6.13 | overlays are made by paths, below a private staging directory |
| idmap | 5.19 under overlay | layers are copied once per app, with owners shifted |
| pidfd | 5.4 | the end of a process is known from its parent's report and from /proc |
| cgroup_kill | 5.14, cgroup v2 | the freezer holds a container while its processes are killed one by one |
| cgroups | a writable tree | no limits, no accounting |
| nat | nft, veth; without root pasta or slirp4netns | containers have only loopback |
| templates | 5.8 (joining by pidfd) | nothing is forked: each container executes an interpreter of its own |
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from inrush.linux import caps, mounts, namespaces

NAMES = ("overlay_fd", "idmap", "pidfd", "cgroup_kill", "cgroups", "nat", "templates")


@dataclass(frozen=True, slots=True)
class Features:
    """Which features of the table above may be used, and in `why` the reason for each that may not."""

    overlay_fd: bool
    idmap: bool
    pidfd: bool
    cgroup_kill: bool
    cgroups: bool
    nat: bool
    templates: bool
    why: Mapping[str, str]


def without(environ: Mapping[str, str] = os.environ) -> set[str]:
    """The features that `INRUSH_WITHOUT` switches off."""
    return {name for name in environ.get("INRUSH_WITHOUT", "").split(",") if name}


def find(
    staging: str, userns_fd: int, rootless: bool, no_way_out: str = "", environ: Mapping[str, str] = os.environ
) -> Features:
    """Tries each feature. `staging` is an empty directory on a private tmpfs, `userns_fd` a user namespace to map
    owners to. `no_way_out` says why the launcher of an ordinary user has no network; empty if it has one."""
    why = dict.fromkeys(without(environ) & set(NAMES), "switched off by INRUSH_WITHOUT")
    probes: dict[str, Callable[[], str]] = {
        "pidfd": _pidfd,
        "idmap": lambda: _idmap(staging, userns_fd, rootless),
        "overlay_fd": lambda: _overlay_fd(staging, rootless),
        "templates": _templates,
        "nat": lambda: _nat(no_way_out),
    }
    for name, probe in probes.items():
        if name not in why and (reason := probe()):
            why[name] = reason
    return Features(**{name: name not in why for name in NAMES}, why=why)


def _pidfd() -> str:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return f"pidfd_open: {error.strerror}"
    return ""


def _templates() -> str:
    """Joins this process's own namespaces by a pidfd. A kernel that supports it answers EINVAL, since the process is in
    its user namespace already."""
    try:
        own = os.pidfd_open(os.getpid())
    except OSError as error:
        return f"pidfd_open: {error.strerror}"
    try:
        namespaces.setns(own, namespaces.ALL)
    except OSError as error:
        return "" if error.errno == errno.EINVAL and _kernel() >= (5, 8) else f"setns by a pidfd: {error.strerror}"
    finally:
        os.close(own)
    return ""


def _idmap(staging: str, userns_fd: int, rootless: bool) -> str:
    if rootless:
        return "without root, layers already belong to the user"
    with tempfile.TemporaryDirectory(dir=staging) as directory:
        try:
            fd = mounts.clone_tree(directory)
            mounts.set_attributes(fd, mounts.ATTR_IDMAP | mounts.ATTR_RDONLY, userns_fd)
            os.close(fd)
        except OSError as error:
            return f"idmapped mounts: {error.strerror}"
    return "" if _kernel() >= (5, 19) else "overlay takes idmapped layers from Linux 5.19 on"


def _overlay_fd(staging: str, rootless: bool) -> str:
    with tempfile.TemporaryDirectory(dir=staging) as top, tempfile.TemporaryDirectory(dir=staging) as bottom:
        fds = [os.open(directory, os.O_PATH | os.O_CLOEXEC) for directory in (top, bottom)]
        options: list[tuple[str, str | int | None]] = [("lowerdir+", fd) for fd in fds]
        try:
            os.close(mounts.detached("overlay", [*options, *([("userxattr", None)] if rootless else [])]))
        except OSError as error:
            return f"overlay by descriptors: {error.strerror}"
        finally:
            for fd in fds:
                os.close(fd)
    return ""


def _nat(no_way_out: str) -> str:
    if no_way_out:
        return no_way_out
    if not caps.has("net_admin", caps.read_status()):
        return "no CAP_NET_ADMIN"
    if not shutil.which("nft", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
        return "the program nft is not installed (package nftables)"
    return ""


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdigit()))
