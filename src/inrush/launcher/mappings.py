"""User namespaces for idmapped mounts: layers are stored with owners from the store's first id on, and mounted with
owners from the app's first id on.

Each is a user namespace without processes, made for one range of ids and kept: a mount that is mapped through it shows
id `store + n` of the disk as id `base + n`, and stores the latter as the former.
"""

from __future__ import annotations

import os
import signal

from inrush.launcher.specs import UID_RANGE
from inrush.linux import namespaces, process


class Mappings:
    """The mappings by range. Each is made on first use, and its descriptor is kept."""

    def __init__(self, store_uid: int) -> None:
        self._store_uid = store_uid
        self._by_base: dict[int, int] = {}

    def get(self, base: int) -> int:
        """The descriptor of the mapping to the range from `base` on."""
        if base not in self._by_base:
            self._by_base[base] = made(self._store_uid, base)
        return self._by_base[base]


def made(source: int, target: int) -> int:
    """Makes a user namespace in which the ids from `source` on mean those from `target` on. Returns its descriptor."""
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
            raise OSError(
                "no user namespace can be made to map the owners of layers: raise sysctl user.max_user_namespaces"
            )
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{name}", "w") as file:
                file.write(f"{source} {target} {UID_RANGE}\n")
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(read)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
