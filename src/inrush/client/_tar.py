"""Local files as a tar whose bytes depend on nothing but the files: sorted, without times and owners. Equal content
is one blob."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from inrush.client._ignore import may_hold_more
from inrush.errors import InvalidError

LIMIT_BYTES = 2 * 1024**3
LIMIT_FILES = 100_000

Ignore = Callable[[Path], bool]


class Blob:
    """Bytes and the id that they have on every server."""

    __slots__ = ("data", "digest")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.digest = hashlib.sha256(data).hexdigest()

    @property
    def id(self) -> str:
        return f"sha256-{self.digest}"


class Link(NamedTuple):
    """A symbolic link in a folder that is sent."""

    target: str


Entry = Path | Link
"""What stands in a tar: a local file's content, an empty folder, or a link."""


def pack(files: Iterable[tuple[str, Entry]]) -> Blob:
    """A tar of (name in the container, local file); names are relative to `/`. Raises `InvalidError` for a file that
    cannot be read, and for too much."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for count, (name, entry) in enumerate(sorted(files, key=itemgetter(0))):
            if count >= LIMIT_FILES or buffer.tell() > LIMIT_BYTES:
                raise InvalidError(
                    f"{name} is too much to send: at most {LIMIT_FILES} files and {LIMIT_BYTES >> 30} GiB go at once"
                )
            _add(tar, name.lstrip("/"), entry)
    return Blob(buffer.getvalue())


def _add(tar: tarfile.TarFile, name: str, entry: Entry) -> None:
    info = tarfile.TarInfo(name)
    if isinstance(entry, Link):
        info.type, info.linkname = tarfile.SYMTYPE, entry.target
        tar.addfile(info)
        return
    try:
        if entry.is_dir():
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
            return
        data = entry.read_bytes()
        executable = os.access(entry, os.X_OK)
    except OSError as error:
        raise InvalidError(f"{entry} cannot be read: {error.strerror}") from None
    info.size = len(data)
    info.mode = 0o755 if executable else 0o644
    tar.addfile(info, io.BytesIO(data))


def tree(local: Path, remote: str, ignore: Ignore) -> list[tuple[str, Entry]]:
    """What is below a folder, as `pack` takes it; `ignore` is asked with the path relative to the folder.

    Links that stay in the folder are sent as links, others as what they lead to. Raises `InvalidError` for what can
    neither be sent nor is ignored.
    """
    return list(_Walk(local, remote.rstrip("/"), ignore).below(local, Path()))


class _Walk:
    def __init__(self, root: Path, remote: str, ignore: Ignore) -> None:
        self._root, self._remote, self._ignore = root.resolve(), remote, ignore
        self._around: list[Path] = []
        """Folders that are being walked, by their real paths: a link to one of them would never end."""

    def below(self, folder: Path, inside: Path) -> Iterator[tuple[str, Entry]]:
        """The entries of a folder, which is itself one if there are none."""
        real = folder.resolve()
        if real in self._around:
            raise InvalidError(f"{folder} is a link to a folder around it; ignore it, or remove it")
        self._around.append(real)
        empty = True
        for path in self._listed(folder):
            for entry in self._entry(path, inside / path.name):
                empty = False
                yield entry
        self._around.pop()
        if empty and not (inside.parts and self._ignore(inside)):
            yield self._named(inside), folder

    def _entry(self, path: Path, inside: Path) -> Iterator[tuple[str, Entry]]:
        ignored = self._ignore(inside)
        if path.is_symlink() and not ignored and (link := self._kept(path)) is not None:
            yield self._named(inside), link
        elif path.is_dir() and (not ignored or may_hold_more(self._ignore)):
            yield from self.below(path, inside)
        elif ignored:
            return
        elif path.is_file():
            yield self._named(inside), path
        else:
            raise InvalidError(f"{path} is neither a file nor a folder, and cannot be sent: ignore it, or remove it")

    def _kept(self, path: Path) -> Link | None:
        """A link that means the same where it is sent to."""
        target = os.readlink(path)
        real = path.resolve()
        stays = real == self._root or self._root in real.parents
        return Link(target) if stays and not os.path.isabs(target) else None

    def _listed(self, folder: Path) -> list[Path]:
        try:
            return sorted(folder.iterdir())
        except OSError as error:
            raise InvalidError(f"{folder} cannot be read: {error.strerror}; ignore it, or change its mode") from None

    def _named(self, inside: Path) -> str:
        return f"{self._remote}/{inside.as_posix()}" if inside.parts else self._remote
