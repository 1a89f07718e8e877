"""Moving a process into a root of its own: /proc, /dev, /sys, /tmp and binds around a root that was made elsewhere.

Two steps, by trusted code alone. `enter` runs with the rights of who owns the layers and the binds, and pivots into
them. `lock` runs in a lesser user namespace: its copy of the mounts is locked by the kernel, so that nobody below can
change what any of them allows, take one away, or look beneath it.

The new root holds files of others, whose symbolic links must not steer a mount. So everything that must come from
the old root is taken as a detached mount first, then the root is changed, and only then is all attached, by paths of
the new root.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from inrush.linux import links, mounts, namespaces

NODES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_QUIET = mounts.ATTR_NOSUID | mounts.ATTR_NODEV | mounts.ATTR_NOEXEC


@dataclass(frozen=True, slots=True)
class Beneath:
    """Detached mounts of a procfs in which nobody lives, and of the sysfs of no network (-1: none). Those of the new
    namespaces are mounted over them: the kernel gives those only to who sees whole ones."""

    proc: int
    sys: int

    def copied(self) -> Beneath:
        """For one root."""
        return Beneath(mounts.clone_of(self.proc), mounts.clone_of(self.sys) if self.sys >= 0 else -1)


def take_nodes(names: Iterable[str] = NODES, below: str = "/dev") -> dict[str, int]:
    """Detached mounts of device nodes below /dev; those that do not exist are left out."""
    nodes: dict[str, int] = {}
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            nodes[name] = mounts.clone_tree(f"{below}/{name}")
    return nodes


def relative(devices: Iterable[str]) -> tuple[str, ...]:
    """Names below /dev of device paths."""
    return tuple(path.removeprefix("/dev/") for path in devices)


def enter(
    root_fd: int,
    binds: Iterable[tuple[int, str, bool]],
    nodes: Mapping[str, int] | None,
    tmp_mib: int | None,
    owner: int,
    beneath: Beneath,
) -> None:
    """Make `root_fd` the root. `binds` are (detached mount, path, is a directory). `nodes` are the devices of a
    fresh /dev; None takes over the /dev of the present root, all but its shm and pts. What is made belongs to the user
    `owner`.
    """
    below = beneath.copied()
    dev = mounts.clone_tree("/dev", recursive=True) if nodes is None else _fresh_dev()
    mounts.attach(root_fd, "/tmp")  # noqa: S108 (a mount point that both a host and an image have)
    mounts.pivot_into("/tmp")  # noqa: S108
    _attach(below.proc, "/proc", owner)
    if below.sys >= 0:
        _attach(below.sys, "/sys", owner)
    _attach(dev, "/dev", owner)
    _furnish_dev(nodes, owner)
    _attach(_tmpfs(owner, tmp_mib), "/tmp", owner)  # noqa: S108
    for fd, path, is_directory in binds:
        _attach(fd, path, owner, is_directory)


def lock() -> None:
    """In the namespaces of a berth, all but its mounts: lock the mounts, and show its processes and its network. The
    settings of the kernel are read-only: user 0 may write what belongs to its network namespace, even without
    capabilities, and the namespace serves others later.
    """
    links.loopback_up()
    namespaces.unshare(namespaces.NEWNS)
    _show(detached_proc(), "/proc")
    settings = mounts.clone_tree("/proc/sys")
    mounts.set_attributes(settings, mounts.ATTR_RDONLY)
    _show(settings, "/proc/sys")
    if (sys := detached_sys()) >= 0:  # where the node's own /sys is not whole, containers see the one beneath
        _show(sys, "/sys")


def _show(fd: int, path: str) -> None:
    mounts.attach(fd, path)
    os.close(fd)


def detached_proc() -> int:
    """The processes of this pid namespace."""
    return mounts.detached("proc", attributes=_QUIET)


def detached_sys() -> int:
    """The sysfs of this network namespace; -1 where the kernel does not give it."""
    try:
        return mounts.detached("sysfs", attributes=_QUIET | mounts.ATTR_RDONLY)
    except OSError:
        return -1


def host_files(hostname: str) -> dict[str, str]:
    """Files of /etc that name a host."""
    hosts = f"127.0.0.1 localhost {hostname}\n::1 localhost ip6-localhost ip6-loopback\n"
    return {"hostname": f"{hostname}\n", "hosts": hosts}


def unnamed_host() -> dict[str, int]:
    """The same files of the present root, which is one's own, made anew, and open until `name_host`."""
    files = {}
    for name in host_files(""):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"/etc/{name}")
        files[name] = os.open(f"/etc/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    return files


def name_host(files: Mapping[str, int], hostname: str) -> None:
    """What is in them, now that the name is known."""
    for name, fd in files.items():
        os.write(fd, host_files(hostname)[name].encode())
        os.close(fd)


def make_dev() -> None:
    """A /dev as containers have it, over the present one: `enter` takes it over from then on."""
    nodes = take_nodes()
    _attach(_fresh_dev(), "/dev", 0)
    _furnish_dev(nodes, 0)


def _attach(fd: int, path: str, owner: int, is_directory: bool = True) -> None:
    if not os.path.exists(path):
        _make_way(path if is_directory else os.path.dirname(path), owner)
        if not is_directory:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
            os.chown(path, owner, owner, follow_symlinks=False)
    mounts.attach(fd, path)
    os.close(fd)


def _make_way(path: str, owner: int) -> None:
    """Directories on the way to `path`, and it; those that are missing are made for `owner`."""
    if path in ("", "/") or os.path.isdir(path):
        return
    _make_way(os.path.dirname(path), owner)
    os.mkdir(path, 0o755)
    os.chown(path, owner, owner, follow_symlinks=False)


def _tmpfs(owner: int, mib: int | None) -> int:
    size: list[tuple[str, str | int | None]] = [("size", f"{mib}m")] if mib else []
    options = [("mode", "1777"), ("uid", str(owner)), ("gid", str(owner)), *size]
    return mounts.detached("tmpfs", options, mounts.ATTR_NOSUID | mounts.ATTR_NODEV)


def _fresh_dev() -> int:
    return mounts.detached("tmpfs", [("mode", "755"), ("size", "64k")], mounts.ATTR_NOSUID | mounts.ATTR_NOEXEC)


def _furnish_dev(nodes: Mapping[str, int] | None, owner: int) -> None:
    if nodes is not None:
        for name, target in _LINKS.items():
            os.symlink(target, "/dev/" + name)
        for name in ("shm", "pts"):
            os.mkdir("/dev/" + name)
        for name, fd in nodes.items():
            _attach(fd, "/dev/" + name, 0, is_directory=False)
    _attach(_tmpfs(owner, None), "/dev/shm", owner)  # noqa: S108
    mounts.mount("devpts", "/dev/pts", "devpts", mounts.NOSUID | mounts.NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
    # Siblings share this tmpfs by clone, so none may change what is in it. (Nodes are mounts of their own, and stay
    # writable.)
    flags = mounts.BIND | mounts.REMOUNT | mounts.RDONLY | mounts.NOSUID | mounts.NOEXEC
    mounts.mount("", "/dev", "", flags)
