"""The room on the disk that is left to the server while builds write to the same disk.

What a build writes is bounded by the disk alone, and the server's journal, blobs and logs lie there too. So no build
begins while less than a floor is free, in bytes or in files that can still be made, and the builds that run are ended
when less is free. The container of a build cannot allocate blocks that it does not write (`fallocate`), so it fills a
disk no faster than it writes.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from inrush.errors import ResourceExhaustedError

WATCH_S = 0.1
"""How often the room is looked at while a build runs."""
MIN_FREE_FILES = 100_000
"""The files that must still be possible on the disk, or a twentieth of what it can have if that is less."""


class Room:
    """The room on the disk of the directory `root`, of which `floor_bytes` are to stay free."""

    def __init__(self, root: Path, floor_bytes: int) -> None:
        self._root = root
        self._floor_bytes = floor_bytes

    def lacks(self) -> str:
        """What is short on the disk, in words; "" if nothing is."""
        disk = os.statvfs(self._root)
        fewest = min(MIN_FREE_FILES, disk.f_files // 20)
        if disk.f_bavail * disk.f_frsize < self._floor_bytes:
            return self._bytes(disk)
        if disk.f_files and disk.f_favail < fewest:  # some file systems have no such limit, and tell 0
            return f"{disk.f_favail} more files can be made there, and that must stay {fewest}"
        return ""

    def check(self) -> None:
        """Raises `ResourceExhaustedError` when less than the floor is free."""
        if self.lacks():
            raise self.full()

    def full(self) -> ResourceExhaustedError:
        """The error for a full disk, also if what filled it has been removed since."""
        return ResourceExhaustedError(
            f"the disk that holds {self._root} is full: {self.lacks() or self._bytes(os.statvfs(self._root))}; make "
            f"room there, or lower the setting layers_gib so that unused layers go earlier"
        )

    def _bytes(self, disk: os.statvfs_result) -> str:
        free_mib = disk.f_bavail * disk.f_frsize >> 20
        return f"{free_mib} MiB are free, and {self._floor_bytes >> 20} MiB must stay free"

    async def watch(self) -> None:
        """Raises `ResourceExhaustedError` as soon as less than the floor is free; does not return before."""
        while True:
            self.check()
            await asyncio.sleep(WATCH_S)
