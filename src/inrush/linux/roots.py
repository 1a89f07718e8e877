"""Moves a process into a root of its own: a root that was made elsewhere, with /proc, /dev, /sys, /tmp and binds.

Trusted code does it in two steps. `enter` runs with the rights of the owner of layers and binds, and pivots into the
root. `lock` runs in a lesser user namespace: it copies the mount namespace, and the kernel locks the mounts in the
copy, so that no process below can change their flags, unmount one, or look beneath it.

The new root holds untrusted files, whose symbolic links must not redirect a mount. So everything that comes from the
old root is first taken as a detached mount, then the root is changed, and only then are the mounts attached, by paths
of the new root.
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
    """Detached mounts of the procfs of an empty pid namespace, and of the sysfs of an empty network namespace (-1:
    none). Those of a container's own namespaces are mounted over them, since the kernel permits that only in a mount
    namespace that has an unobscured procfs and sysfs."""

    proc: int
    sys: int

    def copied(self) -> Beneath:
        """Copies of both mounts, to attach in one root."""
        return Beneath(mounts.clone_of(self.proc), mounts.clone_of(self.sys) if self.sys >= 0 else -1)


def take_nodes(names: Iterable[str] = NODES, below: str = "/dev") -> dict[str, int]:
    """Detached mounts of device nodes, by their names below /dev. Nodes that do not exist are left out."""
    nodes: dict[str, int] = {}
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            nodes[name] = mounts.clone_tree(f"{below}/{name}")
    return nodes


def relative(devices: Iterable[str]) -> tuple[str, ...]:
    """The names below /dev of device paths."""
    return tuple(path.removeprefix("/dev/") for path in devices)


def enter(
    root_fd: int,
    binds: Iterable[tuple[int, str, bool]],
    nodes: Mapping[str, int] | None,
    tmp_mib: int | None,
    owner: int,
    beneath: Beneath,
) -> None:
    """Makes `root_fd` the root. `binds` are (detached mount, path, is a directory). `nodes` are the devices of a new
    /dev; None takes over the /dev of the present root, except its shm and pts. Missing mount points are created, and
    belong to the user `owner`."""
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
    """Locks the mounts, and mounts the procfs and sysfs of the berth's namespaces, all of which the process has joined
    but for the mount namespace. /proc/sys is read-only: user 0 could change settings of the network namespace there
    even without capabilities, and other containers use that namespace later."""
    links.loopback_up()
    namespaces.unshare(namespaces.NEWNS)
    _show(detached_proc(), "/proc")
    settings = mounts.clone_tree("/proc/sys")
    mounts.set_attributes(settings, mounts.ATTR_RDONLY)
    _show(settings, "/proc/sys")
    if (sys := detached_sys()) >= 0:  # where the kernel gives no sysfs, containers see the one of `Beneath`
        _show(sys, "/sys")


def _show(fd: int, path: str) -> None:
    mounts.attach(fd, path)
    os.close(fd)


def detached_proc() -> int:
    """A detached procfs of this pid namespace."""
    return mounts.detached("proc", attributes=_QUIET)


def detached_sys() -> int:
    """A detached, read-only sysfs of this network namespace; -1 where the kernel refuses it."""
    try:
        return mounts.detached("sysfs", attributes=_QUIET | mounts.ATTR_RDONLY)
    except OSError:
        return -1


def host_files(hostname: str) -> dict[str, str]:
    """The contents of /etc/hostname and /etc/hosts, by file name."""
    hosts = f"127.0.0.1 localhost {hostname}\n::1 localhost ip6-localhost ip6-loopback\n"
    return {"hostname": f"{hostname}\n", "hosts": hosts}


def unnamed_host() -> dict[str, int]:
    """Creates empty /etc/hostname and /etc/hosts in this root, and returns their descriptors for `name_host`."""
    files = {}
    for name in host_files(""):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"/etc/{name}")
        files[name] = os.open(f"/etc/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    return files


def name_host(files: Mapping[str, int], hostname: str) -> None:
    """Writes the host name into the files that `unnamed_host` opened, and closes them."""
    for name, fd in files.items():
        os.write(fd, host_files(hostname)[name].encode())
        os.close(fd)


def make_dev() -> None:
    """Mounts a /dev as containers have it over the present one, for `enter` to take over."""
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
    """Creates the missing directories of `path`, which belong to `owner`."""
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
    # Other containers have clones of this tmpfs, so none may change it. Its nodes are mounts of their own, and stay #
    # writable.
    flags = mounts.BIND | mounts.REMOUNT | mounts.RDONLY | mounts.NOSUID | mounts.NOEXEC
    mounts.mount("", "/dev", "", flags)
