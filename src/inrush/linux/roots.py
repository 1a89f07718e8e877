"""Moving a process into a root of its own: /proc, /dev, /sys, /tmp and binds around a root that was made elsewhere.

The new root holds files of others, whose symbolic links must not steer a mount. So everything that must come from
the old root is taken as a detached mount first, then the root is changed, and only then is all attached, by paths of
the new root.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping

from inrush.linux import mounts

NODES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_QUIET = mounts.ATTR_NOSUID | mounts.ATTR_NODEV | mounts.ATTR_NOEXEC


def take_nodes(names: Iterable[str] = NODES) -> dict[str, int]:
    """Detached mounts of device nodes below /dev; those that do not exist are left out."""
    nodes: dict[str, int] = {}
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            nodes[name] = mounts.clone_tree("/dev/" + name)
    return nodes


def relative(devices: Iterable[str]) -> tuple[str, ...]:
    """Names below /dev of device paths."""
    return tuple(path.removeprefix("/dev/") for path in devices)


def enter(
    root_fd: int,
    binds: Iterable[tuple[int, str, bool]],
    nodes: Mapping[str, int] | None,
    tmp_mib: int | None,
    sealed: bool | None,
) -> None:
    """Make `root_fd` the root. `binds` are (detached mount, path, is a directory). `nodes` are the devices of a
    fresh /dev; None takes over the /dev of the present root, all but its shm and pts. `sealed` None leaves /proc to
    `show_proc`.
    """
    proc = detached_proc() if sealed is not None else -1
    sys = _sysfs()
    dev = mounts.clone_tree("/dev", recursive=True) if nodes is None else _fresh_dev()
    mounts.attach(root_fd, "/tmp")  # noqa: S108 (a mount point that both a host and an image have)
    mounts.pivot_into("/tmp")  # noqa: S108
    if sealed is not None:
        show_proc(proc, sealed)
    if sys is not None:
        _attach(sys, "/sys")
    _attach(dev, "/dev")
    _furnish_dev(nodes)
    _attach(mounts.detached("tmpfs", _sized(tmp_mib, "1777"), mounts.ATTR_NOSUID | mounts.ATTR_NODEV), "/tmp")  # noqa: S108
    for fd, path, is_directory in binds:
        _attach(fd, path, is_directory)


def detached_proc() -> int:
    """The processes of this pid namespace, to be shown later. The kernel gives it only to who sees a whole /proc."""
    return mounts.detached("proc", attributes=_QUIET)


def show_proc(proc: int, sealed: bool) -> None:
    """/proc of the present root."""
    _attach(proc, "/proc")
    if sealed:
        _seal()


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
    _attach(_fresh_dev(), "/dev")
    _furnish_dev(nodes)


def _attach(fd: int, path: str, is_directory: bool = True) -> None:
    if not os.path.exists(path):
        os.makedirs(path if is_directory else os.path.dirname(path), exist_ok=True)
        if not is_directory:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    mounts.attach(fd, path)
    os.close(fd)


def _seal() -> None:
    """/proc/sys read-only: user 0 may write what belongs to its network namespace, even without capabilities, and
    the namespace serves others later. (Below a template it stays open: the kernel gives a new /proc only to who sees
    a whole one.)
    """
    settings = mounts.clone_tree("/proc/sys")
    mounts.set_attributes(settings, mounts.ATTR_RDONLY)
    _attach(settings, "/proc/sys")


def _sysfs() -> int | None:
    # Refused where the old root does not show a whole /sys; containers do without it then.
    try:
        return mounts.detached("sysfs", attributes=_QUIET | mounts.ATTR_RDONLY)
    except OSError:
        return None


def _sized(mib: int | None, mode: str) -> list[tuple[str, str | int | None]]:
    return [("mode", mode), *([("size", f"{mib}m")] if mib else [])]


def _fresh_dev() -> int:
    return mounts.detached("tmpfs", [("mode", "755"), ("size", "64k")], mounts.ATTR_NOSUID | mounts.ATTR_NOEXEC)


def _furnish_dev(nodes: Mapping[str, int] | None) -> None:
    if nodes is not None:
        for name, target in _LINKS.items():
            os.symlink(target, "/dev/" + name)
        for name in ("shm", "pts"):
            os.mkdir("/dev/" + name)
        for name, fd in nodes.items():
            _attach(fd, "/dev/" + name, is_directory=False)
    mounts.mount("tmpfs", "/dev/shm", "tmpfs", mounts.NOSUID | mounts.NODEV, "mode=1777")  # noqa: S108
    mounts.mount("devpts", "/dev/pts", "devpts", mounts.NOSUID | mounts.NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
    # Siblings share this tmpfs by clone, so none may change what is in it. (Nodes are mounts of their own, and stay
    # writable.)
    flags = mounts.BIND | mounts.REMOUNT | mounts.RDONLY | mounts.NOSUID | mounts.NOEXEC
    mounts.mount("", "/dev", "", flags)
