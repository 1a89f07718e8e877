"""Local files as a tar whose bytes depend on nothing but the files: sorted, without times and owners. Equal content
is one blob."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

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


def pack(files: Iterable[tuple[str, Path]]) -> Blob:
    """A tar of (name in the container, local file); names are relative to `/`. Raises `InvalidError` for a file that
    cannot be read, and for too much."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for count, (name, path) in enumerate(sorted(files)):
            if count >= LIMIT_FILES or buffer.tell() > LIMIT_BYTES:
                raise InvalidError(
                    f"{path.parent} holds too much to send: at most {LIMIT_FILES} files and {LIMIT_BYTES >> 30} GiB"
                )
            _add(tar, name.lstrip("/"), path)
    return Blob(buffer.getvalue())


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    try:
        data = path.read_bytes()
        executable = os.access(path, os.X_OK)
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror}") from None
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o755 if executable else 0o644
    tar.addfile(info, io.BytesIO(data))


def tree(local: Path, remote: str, ignore: Ignore) -> list[tuple[str, Path]]:
    """The files below a folder, as `pack` takes them; `ignore` is asked with the path relative to the folder."""
    found = []
    for folder, folders, names in os.walk(local):
        here = Path(folder)
        folders[:] = sorted(f for f in folders if not ignore((here / f).relative_to(local)))
        for name in sorted(names):
            inside = (here / name).relative_to(local)
            if not ignore(inside) and (here / name).is_file():
                found.append((f"{remote.rstrip('/')}/{inside.as_posix()}", here / name))
    return found
