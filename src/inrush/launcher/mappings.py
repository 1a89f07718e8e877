"""Mappings of owners: layers are stored with owners from the store's first id, and shown with owners from the app's.

Each is a user namespace in which nobody lives, made for one range and kept: a mount that is mapped through it shows id
`store + n` of the disk as id `base + n`, and writes the other way round.
"""

from __future__ import annotations

import os
import signal

from inrush.launcher.specs import UID_RANGE
from inrush.linux import namespaces, process


class Mappings:
    """Makes them when first asked for, and keeps their descriptors."""

    def __init__(self, store_uid: int) -> None:
        self._store_uid = store_uid
        self._by_base: dict[int, int] = {}

    def get(self, base: int) -> int:
        """Descriptor of the mapping to the range from `base`."""
        if base not in self._by_base:
            self._by_base[base] = made(self._store_uid, base)
        return self._by_base[base]


def made(source: int, target: int) -> int:
    """Descriptor of a new user namespace in which the range from `source` stands for the one from `target`."""
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            process.die_with_parent()
            namespaces.unshare(namespaces.NEWUSER)
            os.write(write, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(write)
    try:
        if not os.read(read, 1):
            raise OSError("no user namespace can be made for a mapping: see sysctl user.max_user_namespaces")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{name}", "w") as file:
                file.write(f"{source} {target} {UID_RANGE}\n")
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(read)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
