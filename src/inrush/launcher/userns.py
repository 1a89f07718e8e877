"""User namespaces, three for each app, so that untrusted code never has a capability over what is shared:

    app      Its user 0 is an ordinary, otherwise unused user of the host. Templates run in it, without capabilities.
     └ owner   Made by the template's user, who can therefore join it. It owns the namespaces of all berths and programs
        │      of the app. Only trusted code that makes those is in it, for a moment.
        └ inner   Containers run in it. A process that joins it has all capabilities in it, but it owns nothing.

With root, an app's namespace maps ids 0…65535 to the app's own range. Without root, the launcher itself is in a user
namespace (`enter_own`), and every app gets three inside it that map the same ids: apps are then separated by their
namespaces, but not by user ids.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass

from inrush.launcher.specs import UID_RANGE
from inrush.linux import messages, namespaces, process

_MAPS = ("uid_map", "gid_map")
_FORBIDDEN = (
    "no user namespace can be made here; the settings that forbid it are user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns (sysctl)"
)
_APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"


@dataclass(frozen=True, slots=True)
class Users:
    """Descriptors of the three user namespaces of one app."""

    app: int
    owner: int
    inner: int


class UserNamespaces:
    """The user namespaces of all apps. Those of an app are made on first use, and their descriptors are kept."""

    def __init__(self, rootless: bool) -> None:
        self._rootless = rootless
        self._by_base: dict[int, Users] = {}

    def base(self, uid_base: int) -> int:
        """The user id that is user 0 of the app, as the launcher sees it."""
        return 0 if self._rootless else uid_base

    def get(self, uid_base: int) -> Users:
        """The user namespaces of the app whose range begins at `uid_base`."""
        if uid_base not in self._by_base:
            self._by_base[uid_base] = self._make(uid_base)
        return self._by_base[uid_base]

    def _make(self, uid_base: int) -> Users:
        base = self.base(uid_base)
        maps = dict.fromkeys(_MAPS, f"0 {base} {UID_RANGE}\n")
        if self._rootless:
            maps = {name: _same_ids(name) for name in _MAPS}
        app = _made(maps)
        within = {name: "".join(f"{i} {i} {n}\n" for i, _, n in _lines(content)) for name, content in maps.items()}
        owner = _made_in([app], within)
        inner = _made_in([app, owner], within)
        return Users(app, owner, inner)


def _made(maps: dict[str, str]) -> int:
    """Makes a user namespace below that of this process, with these maps. Returns its descriptor."""
    pid = _hold()
    try:
        for name, content in maps.items():
            with open(f"/proc/{pid}/{name}", "w") as file:
                file.write(content)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _made_in(way: list[int], maps: dict[str, str]) -> int:
    """Makes a user namespace below the last one of `way`, which is joined step by step. User 0 of that one owns the new
    one, and writes its maps. Returns its descriptor."""
    ours, theirs = messages.pair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            process.die_with_parent()
            for step in way:
                namespaces.setns(step, namespaces.NEWUSER)
            namespaces.become_root()
            messages.send(theirs, {}, [_made(maps)])
        except OSError as error:
            messages.send(theirs, {"error": str(error)})
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        body, fds, _ = messages.receive(ours)
    os.waitpid(pid, 0)
    if not fds:
        raise OSError(f"no user namespace can be made in another: {(body or {}).get('error', 'its maker ended')}")
    return fds[0]


def _lines(content: str) -> list[list[str]]:
    return [line.split() for line in content.splitlines()]


def _same_ids(name: str) -> str:
    with open(f"/proc/self/{name}") as file:
        return "".join(f"{inside} {inside} {count}\n" for inside, _, count in (line.split() for line in file))


def _hold(flags: int = namespaces.NEWUSER) -> int:
    """Forks a child that stays in a new user namespace until it is killed. Returns its pid."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            process.die_with_parent()
            namespaces.unshare(flags)
            process.show_memory()  # the maps of a process that hides its memory cannot be written
            os.write(write, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(write)
    ready = os.read(read, 1)
    os.close(read)
    if not ready:
        os.waitpid(pid, 0)
        raise OSError(_FORBIDDEN)
    return pid


def enter_own() -> str:
    """Moves this process of an ordinary user into a user namespace of its own, as root there. Returns what is missing,
    as a sentence; empty if nothing is."""
    uid, gid, pid = os.geteuid(), os.getegid(), os.getpid()
    read, write = os.pipe()
    helper = os.fork()  # the maps must be written from outside
    if helper == 0:
        status = 1
        try:
            os.close(write)
            if os.read(read, 1):
                status = _write_maps(pid, uid, gid)
        finally:
            os._exit(status)  # whatever fails, this fork must not continue as the launcher
    os.close(read)
    try:
        namespaces.unshare(namespaces.NEWUSER)
        os.write(write, b"x")
    except OSError as error:
        os.close(write)
        os.waitpid(helper, 0)
        raise OSError(f"{_FORBIDDEN} ({error.strerror})") from None
    os.close(write)
    _, status = os.waitpid(helper, 0)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if status:
        return (
            "newuidmap is missing (apt-get install uidmap), or /etc/subuid and /etc/subgid have no range for this user "
            "(usermod --add-subuids, --add-subgids): images have one user only, and apt fails"
        )
    return ""


def leave_mounts() -> None:
    """Enters a mount namespace and a UTS namespace of this process's own. Ubuntu's AppArmor lets ordinary users make a
    user namespace but gives them no capabilities in it, which shows here first. Raises `OSError` that says so."""
    try:
        namespaces.unshare(namespaces.NEWNS | namespaces.NEWUTS)
    except PermissionError as error:
        with contextlib.suppress(OSError), open(_APPARMOR) as file:
            if file.read().strip() == "1":
                raise OSError(
                    "AppArmor gives user namespaces of ordinary users no rights on this machine "
                    "(kernel.apparmor_restrict_unprivileged_userns=1); `inrush doctor` says what to do"
                ) from error
        raise


def _write_maps(pid: int, uid: int, gid: int) -> int:
    """Writes the id maps of a process. Returns 0 if they have a full range of ids, 1 if they have a single one."""
    if shutil.which("newuidmap") and shutil.which("newgidmap"):
        uids, gids = _subordinate("/etc/subuid", uid), _subordinate("/etc/subgid", uid)
        if uids and gids:
            ranges = {"newuidmap": (uid, *uids), "newgidmap": (gid, *gids)}
            calls = [
                [tool, str(pid), "0", str(own), "1", "1", str(first), str(count)]
                for tool, (own, first, count) in ranges.items()
            ]
            if not any(subprocess.run(call, capture_output=True).returncode for call in calls):
                return 0
    for name, content in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1\n"), ("gid_map", f"0 {gid} 1\n")):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(content)
    return 1


def _subordinate(path: str, uid: int) -> tuple[int, int] | None:
    names = {str(uid)}
    with contextlib.suppress(KeyError):
        names.add(pwd.getpwuid(uid).pw_name)
    with contextlib.suppress(OSError, ValueError), open(path) as file:
        for line in file:
            owner, first, count = line.strip().split(":")
            if owner in names:
                return int(first), min(int(count), UID_RANGE - 1)
    return None
