"""Work in trees that others wrote, as the host's root, without being led out of them: no symbolic link is followed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def opened(top: str, names: Sequence[str] = ()) -> Iterator[list[int]]:
    """Descriptors of `top`, and of the directories `names`, each in the one before. Raises `OSError` where one is
    missing, or is a link.
    """
    fds: list[int] = []
    try:
        fds.append(os.open(top, _DIRECTORY))
        for name in names:
            fds.append(os.open(name, _DIRECTORY, dir_fd=fds[-1]))
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def own(path: str, owner: int, mode: int) -> None:
    """Give a directory an owner and a mode."""
    with opened(path) as (fd,):
        os.fchown(fd, owner, owner)
        os.fchmod(fd, mode)


def write(top: str, directory: str, files: Mapping[str, str], owner: int) -> None:
    """Files in a directory of `top`, which is made where it is missing, in place of what has their names. Raises
    `OSError` where the directory is a link, or something else.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(os.path.join(top, directory), 0o755)
    with opened(top, [directory]) as (_, inside):
        os.fchown(inside, owner, owner)
        remove(inside, files)
        for name, content in files.items():
            with open(os.open(name, _NEW, 0o644, dir_fd=inside), "w") as file:
                file.write(content)
                os.fchown(file.fileno(), owner, owner)


def remove(directory: int, names: Iterable[str]) -> None:
    """Files of a directory; what is not there is fine."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)


def prune(top: str, path: str) -> None:
    """Take away what is empty at `path`, a file or a directory, and then the directories on the way to it that are."""
    *way, last = path.strip("/").split("/")
    with contextlib.suppress(OSError), opened(top, way) as fds:
        info = os.stat(last, dir_fd=fds[-1], follow_symlinks=False)
        if stat.S_ISREG(info.st_mode) and not info.st_size:
            os.unlink(last, dir_fd=fds[-1])
        elif stat.S_ISDIR(info.st_mode):
            os.rmdir(last, dir_fd=fds[-1])
        for name, fd in zip(reversed(way), reversed(fds[:-1]), strict=True):
            os.rmdir(name, dir_fd=fd)
