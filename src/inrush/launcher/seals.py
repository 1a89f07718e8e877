"""Makes the root of a build read-only when the build has ended, so that nobody can write to what is published.

The build's processes have ended by then, but one of them may have passed an open file or directory to a process
outside, over a unix socket. Once the overlay's file system is read-only, such a descriptor cannot write. The kernel
refuses to make it so while a file is open for writing or mapped so, and then the build is not published.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from inrush.launcher.loop import Loop
from inrush.linux import mounts

WAIT_S = 2.0
"""How long to wait for the kernel to close the files of processes that have ended; after that a build is refused."""
_RETRY_S = 0.02


class Seals:
    """The roots of builds that have ended and are not read-only yet, by their upper directories."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._open: dict[str, int] = {}

    def end(self, upper: str, root_fd: int) -> None:
        """Makes the root of a build that has ended read-only. It wrote to `upper` through the mount `root_fd`, which
        this closes."""
        if upper in self._open:
            os.close(self._open.pop(upper))
        self._open[upper] = root_fd
        self._seal(upper)

    def wait(self, path: str, done: Callable[[str], None], left_s: float = WAIT_S) -> None:
        """Calls `done` with "" once nobody can write at or below `path`, or with the reason if that is not so within
        `left_s`."""
        wrong = [said for upper in [*self._open] if _overlap(upper, path) and (said := self._seal(upper))]
        if wrong and left_s > 0:
            self._loop.later(_RETRY_S, lambda: self.wait(path, done, left_s - _RETRY_S))
        else:
            done(wrong[0] if wrong else "")

    def forget(self, path: str) -> None:
        """Closes the roots at or below `path`, which will not be published."""
        for upper in [upper for upper in self._open if Path(upper).is_relative_to(path)]:
            os.close(self._open.pop(upper))

    def _seal(self, upper: str) -> str:
        try:
            mounts.seal(self._open[upper])
        except OSError as error:
            return (
                "the processes of the build have ended, and another process still has a file of it open for writing "
                f"({error.strerror}): a step must not pass open files out of the build"
            )
        os.close(self._open.pop(upper))
        return ""


def _overlap(one: str, other: str) -> bool:
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)
