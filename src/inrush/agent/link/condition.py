"""The condition of this node, which the server hears of whenever it changes: which images and snapshots it holds, and
whether its disk and its open descriptors leave room for more containers.

It is measured regularly, and at once when a start has failed for a reason of the node's own. Only what is measured
here makes a node unfit: the words of an error may be those of user code.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from inrush import wire
from inrush.core.model.wanted import image_key
from inrush.errors import InvalidError
from inrush.linux import descriptors

LOOK_S = 10.0
HOLDS_MAX = 2000
"""At most so many images and snapshots are reported; the oldest are left out."""


def labels(setting: str) -> tuple[tuple[str, str], ...]:
    """The node's labels, sorted. Raises `InvalidError` for what is no label."""
    pairs = [part.strip().partition("=") for part in setting.split(",") if part.strip()]
    if any(not key or not sign for key, sign, _ in pairs):
        raise InvalidError(f'labels={setting!r}: write them as "disk=nvme,zone=b"')
    return tuple(sorted((key.strip(), value.strip()) for key, _, value in pairs))


class Condition:
    """What was last reported. `put` sends to the server."""

    def __init__(self, node: str, home: Path, reserve_mib: int, put: Callable[[wire.FromNode], None]) -> None:
        self._node, self._home, self._reserve_mib, self._put = node, home, reserve_mib, put
        self._holds: dict[str, None] = {}
        self._unfit = ""
        self._timer: asyncio.TimerHandle | None = None

    def prepared(self, order: wire.Prepare, snapshot: bool) -> None:
        """Notes that containers of this function start here without a build."""
        found = [image_key(order.spec.image), *([order.function] if snapshot else [])]
        if any(key not in self._holds for key in found):
            self._holds.update(dict.fromkeys(found))
            while len(self._holds) > HOLDS_MAX:
                del self._holds[next(iter(self._holds))]
            self._tell()

    def watch(self) -> None:
        """Measures now and regularly."""
        self.look()
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self.watch)

    def look(self) -> None:
        """Measures what the node has left."""
        unfit = self._disk() or descriptors.short()
        if unfit != self._unfit:
            self._unfit = unfit
            self._tell()

    def _disk(self) -> str:
        if shutil.disk_usage(self._home).free >> 20 >= self._reserve_mib:
            return ""
        return f"its disk is nearly full: less than {self._reserve_mib} MiB free (setting reserve_disk_mib)"

    def close(self) -> None:
        """Ends the regular looks."""
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._put(wire.NodeState(self._node, tuple(self._holds), self._unfit))
