"""Makes the root of a build read-only when the build has ended, so that nobody writes to what is published.

A build's processes have ended by then, but one of them may have passed an open file or directory to a process outside,
over a unix socket. Making the overlay's file system read-only ends what such a descriptor can do; the kernel refuses
that as long as a file is open for writing or mapped so, and then the build is not published.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from inrush.launcher.loop import Loop
from inrush.linux import mounts

WAIT_S = 2.0
"""The kernel closes what dead processes had open a moment after they have ended; then a build is refused."""
_RETRY_S = 0.02


class Seals:
    """Roots of builds that have ended and are not read-only yet, by their upper directory."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._open: dict[str, int] = {}

    def end(self, upper: str, root_fd: int) -> None:
        """The build that wrote to `upper` through the mount `root_fd` has ended. Takes the descriptor over."""
        if upper in self._open:
            os.close(self._open.pop(upper))
        self._open[upper] = root_fd
        self._seal(upper)

    def wait(self, path: str, done: Callable[[str], None], left_s: float = WAIT_S) -> None:
        """Call `done` when nobody can write at or below `path`, with "", or with what stands against it."""
        wrong = [said for upper in [*self._open] if _overlap(upper, path) and (said := self._seal(upper))]
        if wrong and left_s > 0:
            self._loop.later(_RETRY_S, lambda: self.wait(path, done, left_s - _RETRY_S))
        else:
            done(wrong[0] if wrong else "")

    def forget(self, path: str) -> None:
        """What is at or below `path` is not published."""
        for upper in [upper for upper in self._open if Path(upper).is_relative_to(path)]:
            os.close(self._open.pop(upper))

    def _seal(self, upper: str) -> str:
        try:
            mounts.seal(self._open[upper])
        except OSError as error:
            return (
                "processes of the build have ended, and still somebody has a file of it open for writing "
                f"({error.strerror}): was a descriptor passed out of the build?"
            )
        os.close(self._open.pop(upper))
        return ""


def _overlap(one: str, other: str) -> bool:
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)
