"""Work on directory trees that only root can do, in forked workers: owners are shifted, trees copied and removed.

Untrusted code may change a tree while it is walked. So a walk has each directory open, opens each entry in it by name
without following links, and changes only what it has opened.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from inrush.launcher import beneath
from inrush.launcher.specs import UID_RANGE
from inrush.linux import paths

MAX_DEPTH = 256
"""The most nested directories in a tree that is walked; each level takes two descriptors."""
MAX_ENTRIES = 2_000_000
"""The most files and directories in a tree that is walked, and so in a layer."""

ETC_FILES = ("hostname", "hosts", "resolv.conf")
"""Files of /etc that belong to a container and not to its image."""

_CAPABILITY = "security.capability"
_ORIGINS = ("trusted.overlay.origin", "user.overlay.origin")
_FICLONE = 0x40049409
_COPY_BYTES = 1 << 26
_SECTOR_BYTES, _BLOCK_BYTES, _SMALL_BYTES = 512, 4096, 1 << 20
_NAMES_AT_ONCE = 10_000
_MAX_ROUNDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a walked tree. `fd` is opened with O_PATH, `directory` is the directory that contains it, and `path`
    is relative to the top."""

    directory: int
    name: str
    path: str
    fd: int
    info: os.stat_result


def normalise(upper: int, base: int, store: int) -> None:
    """Turns a build's upper directory into a layer: owners are shifted from `base` to `store`, and the files of /etc
    that belong to the build's container are removed."""
    with contextlib.suppress(OSError), beneath.opened(upper, ["etc"]) as (etc,):
        beneath.remove(etc, ETC_FILES)
    beneath.prune(upper, "etc")
    shift_owners(upper, base, store)


def shift_owners(top: int, source: int, target: int, *, disks: bool = False) -> None:
    """Shifts owners and groups of `top` and everything below it from the range of `source` to that of `target`; with
    `disks` also on other file systems that are mounted there."""
    _shift(top, os.fstat(top), source, target)
    for entry in walk(top, disks=disks):
        _shift(entry.fd, entry.info, source, target)
        for name in _ORIGINS:
            with contextlib.suppress(OSError):
                os.removexattr(paths.by_descriptor(entry.fd), name)


def copy(source: int, target: int, base: int, store: int) -> None:
    """Copies the layer `source` into the directory `target`, which no other process can reach. Owners are shifted from
    `store` to `base`."""
    links: dict[tuple[int, int], str] = {}
    _dress(source, os.fstat(source), target, store, base)
    directories = [(".", os.fstat(source))]
    for entry in walk(source):
        known = (entry.info.st_dev, entry.info.st_ino)
        if known in links:
            os.link(links[known], entry.path, src_dir_fd=target, dst_dir_fd=target, follow_symlinks=False)
            continue
        if not _make(entry, target):
            continue
        if stat.S_ISDIR(entry.info.st_mode):
            directories.append((entry.path, entry.info))
        elif entry.info.st_nlink > 1:
            links[known] = entry.path
        made = paths.open_entry(target, entry.path)
        try:
            _dress(entry.fd, entry.info, made, store, base)
        finally:
            os.close(made)
    for path, info in reversed(directories):  # after their entries, which changed their times
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def measure(top: int) -> int:
    """The bytes of disk that everything below `top` takes. Holes of sparse files take none, and each file of several
    names counts once. Small files count by their length, since some file systems report their blocks late."""
    total, seen = 0, set[int]()
    for entry in walk(top):
        info = entry.info
        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            if info.st_ino in seen:
                continue
            seen.add(info.st_ino)
        length = -(-info.st_size // _BLOCK_BYTES) * _BLOCK_BYTES
        total += max(info.st_blocks * _SECTOR_BYTES, min(length, _SMALL_BYTES))
    return total


def remove(parent: int, name: str) -> None:
    """Removes a tree or a file of `parent`, if it exists.

    Directories are moved up into the top one before they are emptied, so that a tree of any depth takes two
    descriptors.
    """
    try:
        top = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return
    except (NotADirectoryError, OSError) as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        os.unlink(name, dir_fd=parent)
        return
    try:
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def forget_mount_points(upper: int, places: list[str]) -> None:
    """Removes the mount points of binds from an upper directory: empty directories and files at these paths of the
    container."""
    for path in places:
        beneath.prune(upper, path)


def walk(top: int, *, disks: bool = False) -> Iterator[Entry]:
    """Yields everything below `top`, each directory before its entries. Raises `OSError` for a tree that is deeper than
    `MAX_DEPTH`, has more than `MAX_ENTRIES` entries or, without `disks`, contains another file system."""
    disk, entries = os.fstat(top).st_dev, 0
    way: list[tuple[int, str, Iterator[str]]] = [(top, "", _names(top))]
    try:
        while way:
            directory, path, names = way[-1]
            name = next(names, None)
            if name is None:
                way.pop()
                if way:
                    os.close(directory)
                continue
            entry = _entry(directory, name, path)
            if entry is None:
                continue
            entries += 1
            try:
                if entries > MAX_ENTRIES:
                    raise OSError(errno.EFBIG, f"a tree has more than {MAX_ENTRIES:,} files and directories")
                yield entry
                if stat.S_ISDIR(entry.info.st_mode):
                    if (entry.info.st_dev != disk and not disks) or len(way) >= MAX_DEPTH:
                        why = f"a tree is deeper than {MAX_DEPTH} directories, or has another disk in it"
                        raise OSError(errno.ELOOP, why, entry.path)
                    way.append(_open(entry))
            finally:
                os.close(entry.fd)
    finally:
        for directory, _, _ in way[1:]:
            os.close(directory)


def _entry(directory: int, name: str, path: str) -> Entry | None:
    """Opens an entry; None if it does not exist any more."""
    try:
        fd = paths.open_entry(directory, name)
    except FileNotFoundError:
        return None
    return Entry(directory, name, f"{path}/{name}" if path else name, fd, os.fstat(fd))


def _open(entry: Entry) -> tuple[int, str, Iterator[str]]:
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=entry.fd)
    try:
        return fd, entry.path, _names(fd)
    except OSError:
        os.close(fd)
        raise


def _names(directory: int) -> Iterator[str]:
    """Yields the names in a directory as it reads them, since those of a hostile one fill the memory."""
    with os.scandir(directory) as found:
        for entry in found:
            yield entry.name


def _some_names(directory: int) -> list[str]:
    return list(itertools.islice(_names(directory), _NAMES_AT_ONCE))


def _empty(top: int) -> None:
    for _ in range(_MAX_ROUNDS):
        names = _some_names(top)
        if not names:
            return
        for name in names:
            if not _unlinked(top, name):
                _flatten(top, name)
    raise OSError(errno.EBUSY, "another process keeps writing into a tree that is being removed")


def _flatten(top: int, name: str) -> None:
    """Empties and removes the directory `name`. Its files are removed; its directories are moved up beside it, under
    random names."""
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
    try:
        for inner in _some_names(fd):
            if not _unlinked(fd, inner):
                os.rename(inner, f".{os.urandom(8).hex()}", src_dir_fd=fd, dst_dir_fd=top)
    finally:
        os.close(fd)
    with contextlib.suppress(OSError):  # there are more entries: the next round removes them
        os.rmdir(name, dir_fd=top)


def _unlinked(directory: int, name: str) -> bool:
    """Removes a file, and returns True also if it does not exist; False for a directory."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return True
    except (IsADirectoryError, PermissionError):
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            return False
        raise
    return True


def _shifted(info: os.stat_result, source: int, target: int) -> tuple[int, int]:
    uid, gid = (i - source + target if source <= i < source + UID_RANGE else i for i in (info.st_uid, info.st_gid))
    return uid, gid


def _shift(fd: int, info: os.stat_result, source: int, target: int) -> None:
    """Shifts the owner and group of one file. chown removes set-id bits and file capabilities, so they are restored."""
    uid, gid = _shifted(info, source, target)
    if (uid, gid) == (info.st_uid, info.st_gid):
        return
    place, capability = paths.by_descriptor(fd), None
    if stat.S_ISREG(info.st_mode):
        with contextlib.suppress(OSError):
            capability = os.getxattr(place, _CAPABILITY)
    paths.change_owner(fd, uid, gid)
    if info.st_mode & 0o6000 and not stat.S_ISLNK(info.st_mode):
        os.chmod(place, stat.S_IMODE(info.st_mode))
    if capability:
        os.setxattr(place, _CAPABILITY, _capability_for(capability, target))


def _capability_for(raw: bytes, root: int) -> bytes:
    """The value of a file capability for the root user `root`: of revision 2 for the host's root, else of revision
    3."""
    magic = struct.unpack_from("<I", raw)[0] & 0x00FFFFFF
    revision = 0x03000000 if root else 0x02000000
    body = struct.pack("<I", revision | magic & 1) + raw[4:20]
    return body + struct.pack("<I", root) if root else body


def _make(entry: Entry, target: int) -> bool:
    """Makes an entry of the same kind in the copy. Returns False for devices, sockets and pipes, which layers do not
    have."""
    mode = entry.info.st_mode
    if stat.S_ISDIR(mode):
        os.mkdir(entry.path, 0o700, dir_fd=target)
    elif stat.S_ISLNK(mode):
        os.symlink(os.readlink("", dir_fd=entry.fd), entry.path, dir_fd=target)
    elif stat.S_ISREG(mode):
        _copy_file(entry, target)
    elif stat.S_ISCHR(mode) and entry.info.st_rdev == 0:  # overlayfs marks a deleted entry by it
        os.mknod(entry.path, stat.S_IFCHR, 0, dir_fd=target)
    else:
        return False
    return True


def _copy_file(entry: Entry, target: int) -> None:
    """Copies a file, or shares its blocks if the file system supports that."""
    source = os.open(paths.by_descriptor(entry.fd), os.O_RDONLY | os.O_CLOEXEC)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        made = os.open(entry.path, flags, 0o600, dir_fd=target)
        try:
            with contextlib.suppress(OSError):
                fcntl.ioctl(made, _FICLONE, source)
                return
            _copy_data(source, made)
        finally:
            os.close(made)
    finally:
        os.close(source)


def _copy_data(source: int, made: int) -> None:
    """Copies the data of a file, and leaves its holes."""
    size, at = os.fstat(source).st_size, 0
    os.ftruncate(made, size)
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # there is only a hole
            raise
        end = os.lseek(source, at, os.SEEK_HOLE)
        os.lseek(made, at, os.SEEK_SET)
        while at < end and (sent := os.sendfile(made, source, at, min(end - at, _COPY_BYTES))):
            at += sent
        at = end


def _dress(source: int, info: os.stat_result, made: int, store: int, base: int) -> None:
    """Gives a copy the owner, mode, extended attributes and times of `source`."""
    uid, gid = _shifted(info, store, base)
    paths.change_owner(made, uid, gid)
    if stat.S_ISLNK(info.st_mode):
        return
    here, there = paths.by_descriptor(source), paths.by_descriptor(made)
    os.chmod(there, stat.S_IMODE(info.st_mode))
    for name in os.listxattr(here):
        if name not in _ORIGINS:
            value = os.getxattr(here, name)
            with contextlib.suppress(OSError):
                os.setxattr(there, name, _capability_for(value, base) if name == _CAPABILITY else value)
    if not stat.S_ISDIR(info.st_mode):
        os.utime(there, ns=(info.st_atime_ns, info.st_mtime_ns))
