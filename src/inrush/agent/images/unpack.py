"""Unpacks a tar that a user sent, into a directory that becomes a layer.

The tar is hostile until shown otherwise: it is read as a stream, each name is checked before anything is written, and
nothing is ever written through a link. Only directories, regular files and links that stay inside are taken; owners,
setuid bits and times are dropped. Names below the directories that a merged-`/usr` system has as links are led to where
the links point, since a layer with a real `/bin` would hide all of the image's programs.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import posixpath
import stat
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self, cast

from inrush.agent.payloads.blobs import Readable
from inrush.errors import InvalidError

MAX_MEMBERS = 1_000_000
MAX_BYTES = 64 * 2**30
_BUFFER_BYTES = 1 << 20
_MAX_EXTENSION_BYTES = 1 << 20
_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_SHARED = {"tmp": 0o1777, "var/tmp": 0o1777}
"""Modes of directories that every process may write to. A layer's mode hides the mode in the layers below."""
_COMPRESSED: dict[bytes, Callable[[Any], Readable]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream, mode="rb"),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
_LONGEST_MAGIC = max(map(len, _COMPRESSED))
_MERGED = {
    "bin": "usr/bin",
    "sbin": "usr/sbin",
    "lib": "usr/lib",
    "lib32": "usr/lib32",
    "lib64": "usr/lib64",
    "libx32": "usr/libx32",
    "var/run": "run",
    "var/lock": "run/lock",
}


def unpack(
    stream: Readable,
    into: Path,
    *,
    name: str,
    max_members: int = MAX_MEMBERS,
    max_bytes: int = MAX_BYTES,
    lead: Callable[[str], str] = str,
    check: Callable[[], None] = lambda: None,
) -> int:
    """Unpacks the (possibly compressed) tar `stream` below `into`. Returns the bytes written. Errors call it `name`.
    `lead` says which directory is meant by the path of one. `check` is called before each part that is written, and
    raises if the disk has no more room.

    Raises `InvalidError` for a tar that is broken, wants out or is over the limits.
    """
    unpacker = _Unpacker(into, name, max_bytes, lead, check)
    try:
        plain = _decompressed(_Peeked(stream))
        with tarfile.open(fileobj=cast("IO[bytes]", plain), mode="r|", bufsize=_BUFFER_BYTES, tarinfo=_Header) as tar:
            count = 0
            while (member := tar.next()) is not None:
                if (count := count + 1) > max_members:
                    raise InvalidError(f"{name} holds more than {max_members} files")
                unpacker.take(tar, member)
                tar.members.clear()  # type: ignore[attr-defined]  # its index of a million files would take a gigabyte
    except (tarfile.TarError, EOFError, ValueError, OverflowError, zlib.error, lzma.LZMAError) as error:
        raise InvalidError(f"{name} is not a readable tar: {error}") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InvalidError(f"{name} cannot be unpacked: {error.strerror or error}") from None
    return unpacker.written


class _Peeked:
    """A stream of which the first bytes are known."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.head = self._rest = stream.read(_LONGEST_MAGIC)

    def read(self, size: int) -> bytes:
        """The next bytes: at most `size`, and none at the end."""
        if not self._rest:
            return self._stream.read(size)
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def close(self) -> None:
        """Closes the stream."""
        self._stream.close()


def _decompressed(stream: _Peeked) -> Readable:
    """The content of a stream. Each read decompresses no more than it returns; tarfile's own streams decompress all
    that they have read, which is a gibibyte for a mebibyte of zeros."""
    for magic, opened in _COMPRESSED.items():
        if stream.head.startswith(magic):
            return opened(stream)
    return stream


class _Header(tarfile.TarInfo):
    """A tar header that refuses large extension headers (long names, pax records), since tarfile reads them into
    memory.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _EXTENSIONS and header.size > _MAX_EXTENSION_BYTES):
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


class _Unpacker:
    def __init__(
        self, root: Path, name: str, max_bytes: int, lead: Callable[[str], str], check: Callable[[], None]
    ) -> None:
        self._root = root
        self._name = name
        self._max_bytes = max_bytes
        self._directories: set[str] = {""}
        self._lead = lead
        self._check = check
        self._led: dict[str, str] = {"": ""}
        self.written = 0

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        self._check()
        path = self._inside(member.name, "", member.name)
        if not path:
            return
        if member.isdir():
            self._directory(self._place(path))
            return
        if member.issym():
            self._inside(member.linkname, posixpath.dirname(path), member.name)
        path = self._placed(path)
        self._directory(posixpath.dirname(path))
        target = self._root / path
        if os.path.lexists(target):
            self._clear(target, member.name)
        if member.isreg():
            self._file(tar, member, target)
        elif member.issym():
            target.symlink_to(member.linkname)
        elif member.islnk():
            self._hard_link(member, target)
        else:
            raise InvalidError(f"{self._name}: {member.name!r} is a device or a pipe; only files can be in it")

    def _inside(self, name: str, base: str, member: str) -> str:
        """Resolves `name`, relative to `base`, to a path below the root."""
        path = posixpath.normpath(posixpath.join(base, name))
        if posixpath.isabs(name) or path == ".." or path.startswith("../") or "\0" in name:
            raise InvalidError(f"{self._name}: {member!r} leads out of it")
        return "" if path == "." else _merged(path)

    def _place(self, directory: str) -> str:
        if directory not in self._led:
            self._led[directory] = self._inside(self._lead(directory), "", directory)
        return self._led[directory]

    def _placed(self, file: str) -> str:
        return posixpath.join(self._place(posixpath.dirname(file)), posixpath.basename(file))

    def _directory(self, path: str) -> None:
        """Makes `path` and its parents, and checks that each one is a real directory."""
        if path in self._directories:
            return
        self._directory(posixpath.dirname(path))
        target = self._root / path
        if not os.path.lexists(target):
            target.mkdir()
            target.chmod(_SHARED.get(path, 0o755))
        elif not stat.S_ISDIR(target.lstat().st_mode):
            raise InvalidError(f"{self._name}: {path!r} is a directory and something else at once")
        self._directories.add(path)

    def _clear(self, target: Path, member: str) -> None:
        """Removes an earlier member, since a later one of the same name replaces it."""
        if stat.S_ISDIR(target.lstat().st_mode):
            raise InvalidError(f"{self._name}: {member!r} is a directory and something else at once")
        target.unlink()

    def _file(self, tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
        self.written += member.size
        if self.written > self._max_bytes:
            raise InvalidError(f"{self._name} unpacks to more than {self._max_bytes} bytes")
        source = tar.extractfile(member)
        if source is None:
            raise InvalidError(f"{self._name}: {member.name!r} cannot be read")
        mode = 0o755 if member.mode & 0o111 else 0o644
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:
            while chunk := source.read(_BUFFER_BYTES):
                self._check()
                file.write(chunk)
            os.fchmod(file.fileno(), mode)

    def _hard_link(self, member: tarfile.TarInfo, target: Path) -> None:
        path = self._placed(self._inside(member.linkname, "", member.name))
        source, parents = self._root / path, posixpath.dirname(path)
        if parents not in self._directories or not source.is_file() or source.is_symlink():
            raise InvalidError(
                f"{self._name}: {member.name!r} is a link to {member.linkname!r}, which is no file of it"
            )
        os.link(source, target, follow_symlinks=False)


def _merged(path: str) -> str:
    for old, new in _MERGED.items():
        if path == old or path.startswith(old + "/"):
            return new + path[len(old) :]
    return path
