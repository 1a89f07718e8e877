"""The home of a server that root starts: its owners and modes, and how an existing home is given to the server.

    home/           root, group S, mode 1770    the server makes files here, and cannot replace what is root's
      launcher/     root, 0700                  the launcher's own
      …             S                           all else: what the server and its agent write

S is a user id that nothing else uses: the first of a range that belongs to this home, whose ids own the stored layers
too. It is chosen when the home is made, and recorded as the home's group. A home from before there was an S is given to
the server by descriptors, without following links.
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
"""The number of id ranges for homes. They follow the ranges of apps, and end below 2**31."""

_MODE = 0o1770
_SERVERS = ("run", STORE, "blobs", "logs", "token", "key")
_BEGINNINGS = ("server.log", "store.db", "audit.log")
"""Names, and beginnings of names, of what a server makes in its home. Other files are left alone."""
_GONE = ("uppers", "shifted", "mark", "launcher.lock")
"""Directories and files that earlier versions of the launcher kept in the store."""


def settle(home: Path) -> int:
    """Prepares the home for a server that root starts. Returns the user id S that the server gets. Raises `OSError` for
    a home that does not belong to root."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    top = os.open(home, paths.DIRECTORY | os.O_CLOEXEC)
    try:
        info = os.fstat(top)
        if info.st_uid:
            raise PermissionError(
                f"the home {home} belongs to user {info.st_uid}, and a server that root starts needs one that belongs "
                "to root: set INRUSH_HOME to another directory, or start the server as that user"
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
        os.fchown(top, 0, uid)  # last, so that a start after a crash does all of it again
        os.fchmod(top, _MODE)
        return uid
    finally:
        os.close(top)


def end_leftovers(uid: int) -> None:
    """Kills every process of the server's user before a new server starts. Nothing else uses this user id, and an
    attacker who took over an earlier server must not survive it. Call it while the home is locked."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os.kill(-1, signal.SIGKILL)  # every process that this user may signal, except this one
        os._exit(0)
    os.waitpid(pid, 0)


def _is_store(uid: int) -> bool:
    return FIRST_STORE_UID <= uid < FIRST_STORE_UID + MAX_STORES * UID_RANGE and not (uid - FIRST_UID) % UID_RANGE


def _free_uid(home: Path) -> int:
    """A user id derived from the path, so that a home that is made again gets the same; the next one that no process
    uses."""
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
    """Gives an entry of the home to the server if it belongs to root. With `whole`, the owners of everything below it
    are shifted too, since layers have owners from S on where they had them from 0 on."""
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
                _give_entries(inside, uid, stat.S_ISDIR)  # such as a disk that was mounted for layers
        finally:
            os.close(inside)
    finally:
        os.close(fd)


def _give_entries(directory: int, uid: int, is_kind: Callable[[int], bool]) -> None:
    """Gives the server the entries of one kind that belong to root in one of its directories, not what is inside of
    them."""
    for name in os.listdir(directory):
        fd = paths.open_entry(directory, name)
        try:
            info = os.fstat(fd)
            if info.st_uid == 0 and is_kind(info.st_mode) and (stat.S_ISDIR(info.st_mode) or info.st_nlink == 1):
                paths.change_owner(fd, uid, uid)
        finally:
            os.close(fd)
