"""Work in directories that others wrote, as the host's root, without being led out of them: everything is reached from
a descriptor, and no symbolic link is followed.
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
    """Descriptors of the directories `names`, each in the one before, the first in `top`. Raises `OSError` where one
    is missing, or is a link.
    """
    fds: list[int] = []
    try:
        for name in names:
            fds.append(os.open(name, _DIRECTORY, dir_fd=fds[-1] if fds else top))
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def directory(parent: int, name: str, owner: int) -> int:
    """A directory of `parent`, made where it is missing, with this owner and open to be entered by all."""
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
    """Files in the directory `name` of `top`, which is made where it is missing, in place of what has their names.
    Raises `OSError` where the directory is a link, or something else.
    """
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
    """Files of a directory; what is not there is fine."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)


def prune(top: int, path: str) -> None:
    """Take away what is empty at `path`, a file or a directory, and then the directories on the way to it that are."""
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
