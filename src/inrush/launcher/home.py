"""The home of a server that root starts: whom it belongs to, and how it comes to belong to them.

    home/           root, group S, mode 1770    the server makes files here, and cannot replace what is root's
      launcher/     root, 0700                  the launcher's own
      …             S                           all else: what the server and its agent write

S is a user id that nobody else has: the first of a range kept for this home, in which layers are stored too. It is
chosen when the home is made, and the home's group tells it from then on. A home from before there was an S is given to
it by descriptors, without following a link.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from inrush.launcher import trees
from inrush.launcher.places import STORE
from inrush.launcher.specs import FIRST_UID, MAX_RANGES, UID_RANGE
from inrush.linux import paths

FIRST_STORE_UID = FIRST_UID + MAX_RANGES * UID_RANGE
MAX_STORES = 4_096
"""Ranges for homes; they follow those of apps, and end below 2**31."""

_MODE = 0o1770
_SERVERS = ("run", STORE, "blobs", "logs", "token", "key")
_BEGINNINGS = ("server.log", "store.db", "audit.log")
"""What a server makes in its home, by name or beginning; whatever else is there is left alone."""
_GONE = ("uppers", "shifted", "mark", "launcher.lock")
"""What earlier launchers kept in the store."""


def settle(home: Path) -> int:
    """Make the home ready for a server that root starts; returns the user id S that the server is to have. Raises
    `OSError` for a home that is not root's.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    top = os.open(home, paths.DIRECTORY | os.O_CLOEXEC)
    try:
        info = os.fstat(top)
        if info.st_uid:
            raise PermissionError(
                f"it belongs to user {info.st_uid}: a server that root starts needs a home of root's; "
                "name one by INRUSH_HOME, or start the server as that user"
            )
        uid = info.st_gid if _is_store(info.st_gid) else _free_uid(home)
        for name in sorted(os.listdir(top)):
            if name in _SERVERS or name.startswith(_BEGINNINGS):
                _give(top, name, uid, whole=info.st_gid != uid)
        trees.remove(top, "tmp")
        for name in ("run", STORE, "tmp"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=top)
                os.chown(name, uid, uid, dir_fd=top, follow_symlinks=False)
        os.fchown(top, 0, uid)  # last: until here another start would do it all again
        os.fchmod(top, _MODE)
        return uid
    finally:
        os.close(top)


def end_leftovers(uid: int) -> None:
    """End every process that runs as the server's user, before a server does: nobody else has this user id, and who had
    taken an earlier server over must not outlive it. Call it while the home is locked.
    """
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)  # all that this user may signal, but not this process
        os._exit(0)
    os.waitpid(pid, 0)


def _is_store(uid: int) -> bool:
    return FIRST_STORE_UID <= uid < FIRST_STORE_UID + MAX_STORES * UID_RANGE and not (uid - FIRST_UID) % UID_RANGE


def _free_uid(home: Path) -> int:
    """One that follows from the path, so that a home made anew has the same; another where processes have that."""
    first = int.from_bytes(hashlib.sha256(str(home).encode()).digest()[:4])
    used = set(_uids_of_processes())
    for step in range(MAX_STORES):
        uid = FIRST_STORE_UID + (first + step) % MAX_STORES * UID_RANGE
        if uid not in used:
            return uid
    raise OSError(f"all {MAX_STORES} user ids for servers are in use on this machine")


def _uids_of_processes() -> Iterator[int]:
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            yield os.stat(f"/proc/{entry}").st_uid


def _give(top: int, name: str, uid: int, whole: bool) -> None:
    """Give an entry of the home to the server: what root has put there, or (`whole`) all of it, with owners shifted,
    as layers have owners from S where they had them from 0.
    """
    fd = paths.open_entry(top, name)
    try:
        info = os.fstat(fd)
        if not stat.S_ISDIR(info.st_mode):
            if info.st_uid == 0 and stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
                paths.change_owner(fd, uid, uid)
            return
        inside = os.open(".", paths.DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        try:
            if name == STORE and whole:
                for gone in _GONE:
                    trees.remove(inside, gone)
            if whole:
                trees.shift_owners(inside, 0, uid, disks=True)
            elif info.st_uid == 0:
                os.fchown(inside, uid, uid)
            if name == "run" and not whole:
                _give_entries(inside, uid, stat.S_ISREG)
            if name == STORE and not whole:
                _give_entries(inside, uid, stat.S_ISDIR)  # a disk of their own that layers were given since
        finally:
            os.close(inside)
    finally:
        os.close(fd)


def _give_entries(directory: int, uid: int, is_kind: Callable[[int], bool]) -> None:
    """Entries of one kind that root has put into a directory of the server: themselves, not what is in them."""
    for name in os.listdir(directory):
        fd = paths.open_entry(directory, name)
        try:
            info = os.fstat(fd)
            if info.st_uid == 0 and is_kind(info.st_mode) and (stat.S_ISDIR(info.st_mode) or info.st_nlink == 1):
                paths.change_owner(fd, uid, uid)
        finally:
            os.close(fd)
