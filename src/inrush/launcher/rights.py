"""The rights that the server's process gives up once the launcher has been started.

If root has started it, it becomes a user that nothing else uses, sees only what it needs of directories that this user
may not enter, drops every capability, and can write only to its home.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from inrush.launcher.home import settle
from inrush.linux import caps, landlock, mounts, namespaces, process

PREFERRED = -10
"""The server's niceness, where it may have one: so it answers while all cores are busy with containers."""
_DEVICES = ("null", "zero", "full", "tty", "ptmx", "pts")


def drop_privileges(home: Path, uid: int = 0, needed: Iterable[str] = (), elsewhere: Iterable[str] = ()) -> str:
    """Drops every capability and every way to new ones, and the right to write outside `home` (and `elsewhere`), in
    this process and its future threads. Returns what was done, as a sentence.

    Root becomes the user `uid`, or if that is 0 the user to whom the home is given now. `needed` are paths that must
    stay visible, beside those of the process's own interpreter.
    """
    root = os.geteuid() == 0
    if root:
        uid = uid or settle(home)
        interpreter = (sys.executable, sys.prefix, sys.base_prefix, *filter(None, sys.path))
        show_only([str(home), *interpreter, *needed], uid)
        os.chdir(home)
        caps.drop_bounds()
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        caps.use_only()
    process.no_new_privileges()
    process.hide_memory()
    devices = [f"/dev/{name}" for name in _DEVICES] + [str(path) for path in sorted(Path("/dev").glob("nvidia*"))]
    confined = landlock.confine_writes([str(home), *elsewhere, *devices, "/proc/self"])
    first = f"runs as user {uid}, without capabilities" if root else "runs as an ordinary user"
    second = f"writes only below {home}" if confined else "is not confined in what it writes (no Landlock 2)"
    return f"the server {first}, cannot gain privileges, and {second}"


def go_first() -> bool:
    """Have this process, and its threads to come, scheduled before others. Returns whether the kernel will: a session
    that is scheduled as one (autogroup), and a control group of its own, as a unit of systemd has, weigh what they
    weigh, whatever the niceness of a process inside.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, PREFERRED)
        if _autogroups():
            if os.getsid(0) != os.getpid():
                return False  # the session is a shell's, and has other programs in it
            Path("/proc/self/autogroup").write_text(str(PREFERRED))
        return is_alone(Path("/proc/self/cgroup").read_text())
    except OSError:  # root in a container may lack the right to it
        return False


def _autogroups() -> bool:
    switch = Path("/proc/sys/kernel/sched_autogroup_enabled")
    return switch.exists() and switch.read_text().strip() == "1"


def is_alone(membership: str) -> bool:
    """Whether a process with this /proc/PID/cgroup is in no group that the scheduler weighs."""
    paths: dict[str, str] = {}
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    return paths.get("cpu", paths.get("", "/")) == "/"  # the tree of version 2 has no name


def show_only(wanted: Iterable[str], uid: int) -> None:
    """Enters a mount namespace in which every directory above `wanted` that `uid` may not enter, such as root's home,
    is covered by a tmpfs that contains only the wanted paths."""
    every = sorted({path for each in wanted for path in (os.path.abspath(each), os.path.realpath(each))})
    shown = {path: top for path in every if os.path.exists(path) and (top := _barred(path, uid))}
    if not shown:
        return
    namespaces.unshare(namespaces.NEWNS)
    mounts.mount("", "/", "", mounts.REC | mounts.SLAVE)
    taken = {path: (mounts.clone_tree(os.path.realpath(path), recursive=True), os.path.isdir(path)) for path in shown}
    for top in sorted(set(shown.values())):
        cover = mounts.detached("tmpfs", [("mode", "755"), ("size", "1m")], mounts.ATTR_NOSUID | mounts.ATTR_NODEV)
        mounts.attach(cover, top)
        os.close(cover)
    for path, (fd, is_directory) in sorted(taken.items()):
        if not os.path.exists(path):  # else it lies in another wanted path that was attached before
            os.makedirs(path if is_directory else os.path.dirname(path), mode=0o755, exist_ok=True)
            if not is_directory:
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
            mounts.attach(fd, path)
        os.close(fd)


def unreadable(wanted: Iterable[str]) -> list[str]:
    """The paths of `wanted` that this process may not read."""
    return [path for path in wanted if not os.access(path, os.R_OK | (os.X_OK if os.path.isdir(path) else 0))]


def _barred(path: str, uid: int) -> str:
    """The topmost directory above `path` that `uid` may not enter; empty if there is none."""
    names = path.strip("/").split("/")
    for count in range(len(names)):
        above = "/" + "/".join(names[:count])
        info = os.stat(above)
        bit = 0o100 if info.st_uid == uid else 0o010 if info.st_gid == uid else 0o001
        if not info.st_mode & bit:
            return above
    return ""
