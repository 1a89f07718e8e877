"""What `inrush doctor` tries: each trial does in a process of its own what a container takes, and says what went wrong.

A process ends with all that it has made, so nothing is left of a trial.
"""

from __future__ import annotations

import os
from collections.abc import Callable

WORDS_BYTES = 4096
"""Of what a trial says."""


def tried(act: Callable[[], str | None]) -> str:
    """What `act` returns, or the error that it ended with, from a process of its own; empty where all is well."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            os.write(write, _words_of(act).encode()[:WORDS_BYTES])
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        said = file.read(WORDS_BYTES).decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    return f"it was killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else said


def _words_of(act: Callable[[], str | None]) -> str:
    try:
        return act() or ""
    except OSError as error:
        return f"{error.strerror or error}: {error.filename}" if error.filename else str(error.strerror or error)


def user_namespace() -> None:
    """Make a user namespace, and mount something in it."""
    from inrush.linux import mounts, namespaces

    uid, gid = os.geteuid(), os.getegid()
    namespaces.unshare(namespaces.NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    namespaces.unshare(namespaces.NEWNS)
    mounts.make_private()
    mounts.mount("tmpfs", "/tmp", "tmpfs", mounts.NOSUID)  # noqa: S108 (seen by this process alone)


def overlay() -> None:
    """Mount an overlay where the launcher would: in a user namespace, or as root."""
    from inrush.linux import mounts, namespaces

    rootless = os.geteuid() != 0
    if rootless:
        user_namespace()
    else:
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        mounts.mount("tmpfs", "/tmp", "tmpfs", mounts.NOSUID)  # noqa: S108
    for name in ("lower", "upper", "work", "root"):
        os.mkdir(f"/tmp/{name}")  # noqa: S108
    options = "lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work" + (",userxattr" if rootless else "")
    mounts.mount("overlay", "/tmp/root", "overlay", mounts.NODEV, options)  # noqa: S108


def many_ids() -> str:
    """Take a range of user ids by newuidmap; what is lost without."""
    from inrush.launcher import userns

    return userns.enter_own()


def seccomp() -> str:
    """Set the filter of containers."""
    from inrush.linux import confine
    from inrush.linux import seccomp as filters

    code = filters.program()
    if not code:
        return "there is no filter for this kind of processor"
    confine.confine(code)
    with open("/proc/self/status") as file:
        kept = "Seccomp:\t2\n" in file.readlines()
    return "" if kept else "a filter was set, and is not there"


def network() -> None:
    """Make a container's links and the table, in a network of this process alone."""
    from inrush.launcher import network as networks
    from inrush.launcher import userns
    from inrush.linux import namespaces

    if os.geteuid() != 0:
        userns.enter_own()
    namespaces.unshare(namespaces.NEWNET)
    networks.try_out()
