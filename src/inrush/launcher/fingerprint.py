"""A hash of a whole directory tree, by which a layer of the platform is known again after a restart.

Each entry is hashed by itself: its path, kind, mode, owner and group, its device number or link target or content, and
the extended attributes that decide what a container sees (file capabilities, and overlay's marks). The fingerprint is
the hash of those hashes in order, so it does not depend on the order in which the file system lists names. Times are
left out: a restored backup may change them, and nothing that runs depends on them.
"""

from __future__ import annotations

import hashlib
import os
import stat

from inrush.launcher import trees
from inrush.linux import paths

_ATTRIBUTES = ("security.capability", "trusted.overlay.", "user.overlay.")


def of_tree(top: int) -> str:
    """The fingerprint of the directory `top` and everything below it, in hexadecimal. Raises `OSError` for a tree that
    cannot be read, is too deep, or has another file system mounted in it.
    """
    found = [_of_entry("", top, os.fstat(top))]
    found += [_of_entry(entry.path, entry.fd, entry.info) for entry in trees.walk(top)]
    return hashlib.sha256(b"".join(sorted(found))).hexdigest()


def _of_entry(path: str, fd: int, info: os.stat_result) -> bytes:
    """The hash of one entry. Each field is preceded by its length, so no two entries share their bytes."""
    hashed = hashlib.sha256()
    facts = f"{info.st_mode:o} {info.st_uid} {info.st_gid} {info.st_rdev}"
    for field in (os.fsencode(path), facts.encode(), _content(fd, info), *_attributes(fd, info)):
        hashed.update(f"{len(field)}:".encode() + field)
    return hashed.digest()


def _content(fd: int, info: os.stat_result) -> bytes:
    if stat.S_ISLNK(info.st_mode):
        return os.fsencode(os.readlink("", dir_fd=fd))
    if not stat.S_ISREG(info.st_mode):
        return b""
    with open(paths.by_descriptor(fd), "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _attributes(fd: int, info: os.stat_result) -> list[bytes]:
    if stat.S_ISLNK(info.st_mode):
        return []
    place = paths.by_descriptor(fd)
    names = sorted(name for name in os.listxattr(place) if name.startswith(_ATTRIBUTES))
    return [part for name in names for part in (name.encode(), os.getxattr(place, name))]
