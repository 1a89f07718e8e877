"""Which uids an app's containers run as.

Each app name owns a range of 65,536 uids on this node: uid 0 of its containers is the first of them, so files of
one app are out of reach for another even if a container breaks out. The table is kept in `uids.json`, since files on
disk carry these numbers; a range is given to another app only when all are taken, and then the one unused for longest.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Container
from pathlib import Path

from inrush import intact
from inrush.errors import ResourceExhaustedError
from inrush.launcher.specs import FIRST_UID, MAX_RANGES, UID_RANGE

PLATFORM = "inrush/platform"
"""Whose range the platform's own builds run in; no app is called so, as names of apps have no slash."""


class UidRanges:
    """First uid by app name; a new name is saved before its range is given out."""

    def __init__(
        self,
        path: Path,
        in_use: Callable[[], Container[str]] = tuple,
        max_ranges: int = MAX_RANGES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`in_use` tells the apps whose range may not be given away."""
        self._path = path
        self._in_use = in_use
        self._max_ranges = max_ranges
        self._clock = clock
        self._slots: dict[str, list[float]] = _read(path)  # app → [slot, last used]

    def first_uid(self, app: str) -> int:
        """The first uid of the app's range. Raises `ResourceExhaustedError` where all are in use."""
        entry = self._slots.get(app)
        if entry is None:
            entry = self._slots[app] = [self._free_slot(), self._clock()]
            self._save()
        entry[1] = self._clock()
        return FIRST_UID + int(entry[0]) * UID_RANGE

    def _free_slot(self) -> int:
        taken = {int(slot) for slot, _ in self._slots.values()}
        if len(taken) < self._max_ranges:
            return next(slot for slot in range(self._max_ranges) if slot not in taken)
        in_use = self._in_use()
        idle = [name for name in self._slots if name not in in_use]
        if not idle:
            raise ResourceExhaustedError(
                f"all {self._max_ranges} uid ranges of this node are in use by running apps; stop some and try again"
            )
        oldest = min(idle, key=lambda name: self._slots[name][1])
        return int(self._slots.pop(oldest)[0])

    def _save(self) -> None:
        part = self._path.with_suffix(".part")
        with part.open("w") as file:
            json.dump(self._slots, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)


def _read(path: Path) -> dict[str, list[float]]:
    remedy = "restore it, or remove it while no server runs: apps get their ranges of user ids anew then"
    return intact.read(path, _slots, remedy) or {}


def _slots(data: bytes) -> dict[str, list[float]]:
    table = json.loads(data)
    if not isinstance(table, dict):
        raise ValueError("it is no table of apps")
    slots: dict[str, list[float]] = {name: [int(slot), float(used)] for name, (slot, used) in table.items()}
    numbers = {slot for slot, _ in slots.values()}
    if len(numbers) < len(slots) or not all(0 <= slot < MAX_RANGES for slot in numbers):
        raise ValueError("two apps have one range, or one has a range that there is not")
    return slots
