"""Work as the host's root in directories that untrusted code wrote: everything is reached from a descriptor, and no
symbolic link is followed, so that no path leads out of them.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def opened(top: int, names: Sequence[str]) -> Iterator[list[int]]:
    """Opens the directories `names`, each inside the one before and the first in `top`, and closes them at the end.
    Raises `OSError` if one is missing, or is a link."""
    fds: list[int] = []
    try:
        for name in names:
            fds.append(os.open(name, _DIRECTORY, dir_fd=fds[-1] if fds else top))
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def directory(parent: int, name: str, owner: int) -> int:
    """Opens a directory of `parent`, which is made if it is missing, and gives it this owner and mode 0755."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=parent)
    fd = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        os.fchown(fd, owner, owner)
        os.fchmod(fd, 0o755)
    except OSError:
        os.close(fd)
        raise
    return fd


def write(top: int, name: str, files: Mapping[str, str], owner: int) -> None:
    """Writes files into the directory `name` of `top`, which is made if it is missing, and replaces existing ones.
    Raises `OSError` if `name` is a link, or no directory."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=top)
    with opened(top, [name]) as (inside,):
        os.fchown(inside, owner, owner)
        remove(inside, files)
        for file_name, content in files.items():
            with open(os.open(file_name, _NEW, 0o644, dir_fd=inside), "w") as file:
                file.write(content)
                os.fchown(file.fileno(), owner, owner)


def remove(directory: int, names: Iterable[str]) -> None:
    """Removes files of a directory, if they exist."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)


def prune(top: int, path: str) -> None:
    """Removes an empty file or directory at `path`, and then the directories above it below `top` that are empty."""
    *way, last = path.strip("/").split("/")
    with contextlib.suppress(OSError), opened(top, way) as fds:
        parents = [top, *fds]
        info = os.stat(last, dir_fd=parents[-1], follow_symlinks=False)
        if stat.S_ISREG(info.st_mode) and not info.st_size:
            os.unlink(last, dir_fd=parents[-1])
        elif stat.S_ISDIR(info.st_mode):
            os.rmdir(last, dir_fd=parents[-1])
        for name, parent in zip(reversed(way), reversed(parents[:-1]), strict=True):
            os.rmdir(name, dir_fd=parent)
