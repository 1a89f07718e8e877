"""A backup: what a home holds that cannot be made again, as one tar file.

    about.json                  format, version, time: first, so that a reader knows what follows
    config.toml, token, key     as they are; config.toml if there is one
    audit.log, audit.log.1      who did what, as far as there are such files; refused.log and refused.log.1 too
    store.db                    a copy of the database as a SQLite file
    blobs/ID …                  all of them, with the time at which each expires
    end.json                    the number of entries: last, so that a truncated file is noticed

It is made beside a running server. All blobs are linked to first, then the database is copied, then those blobs are
linked to that are new. So every blob that the copied rows refer to is in the backup, even if the server removes it
meanwhile. Those that have expired are in it too, since apps and calls hold blobs beyond that time. The links are below
`blobs/`, which may be another file system.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import re
import shutil
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from inrush.errors import AlreadyExistsError, InvalidError, NotFoundError, VersionError
from inrush.server.payloads.blobs import PART_SUFFIX
from inrush.server.rows import copies

FORMAT = 1
MAX_SMALL_BYTES = 1024 * 1024
"""The most bytes of each file in a backup that is neither the database, nor a log, nor a blob."""
MAX_LOG_BYTES = 16 * 1024 * 1024
"""The most bytes of each log in a backup."""
STATE = ("store.db", "key", "token", "blobs", "audit.log")
"""What a home must lack for a backup to be restored there."""

_ABOUT, _END, _CONFIG, _STORE = "about.json", "end.json", "config.toml", "store.db"
_SMALL = (_ABOUT, _END, _CONFIG, "token", "key")
_LOGS = ("audit.log", "audit.log.1", "refused.log", "refused.log.1")
_LINKS = ".backup"
_BLOB = re.compile(r"blobs/([0-9A-Za-z-]{1,80})", re.ASCII)


class About(NamedTuple):
    """What a backup says about itself: which inrush made it, when, and how many blobs it has."""

    version: str
    made: float
    blobs: int


def write(home: Path, url: str, config: bytes | None, version: str, file: BinaryIO) -> About:
    """Writes a backup of a home, whose server may run. `url` is the setting `database_url`."""
    made = time.time()
    with _workplace(home, "backup") as place, _emptied(home / "blobs" / _LINKS) as links:
        _link(home / "blobs", links)
        copies.copy_out(home, url, place / _STORE)
        _link(home / "blobs", links)
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            _add(tar, _ABOUT, json.dumps({"format": FORMAT, "version": version, "made": made}).encode())
            if config is not None:
                _add(tar, _CONFIG, config)
            for name in ("token", "key"):
                _add(tar, name, (home / name).read_bytes())
            for name in ("audit.log", "refused.log"):
                _add_log(tar, home / name)
            _add_file(tar, _STORE, place / _STORE)
            blobs = sorted(links.iterdir())
            for blob in blobs:
                _add_file(tar, f"blobs/{blob.name}", blob)
            _add(tar, _END, json.dumps({"blobs": len(blobs)}).encode())
    return About(version, made, len(blobs))


def restore(home: Path, url: str | None, version: str, file: BinaryIO) -> tuple[About, bytes | None]:
    """Restores a backup into a home without state, whose lock the caller holds. Returns what the backup says about
    itself, and its `config.toml`, which the caller may put in place.

    `url` is the setting `database_url` of this machine; where that is None, the one of the backup applies. Nothing is
    changed unless the backup is whole. Raises `InvalidError`, `AlreadyExistsError` or `VersionError`.
    """
    check_empty(home)
    with _workplace(home, "restore") as place:
        (place / "blobs").mkdir(mode=0o700)
        about = _extract(file, place, version)
        copies.check(place / _STORE)
        config = (place / _CONFIG).read_bytes() if (place / _CONFIG).exists() else None
        if url is None:
            url = str(_parsed(config).get("database_url", ""))
        if url:
            copies.copy_in(place / _STORE, url)
        else:
            os.replace(place / _STORE, home / _STORE)
        (home / "blobs").mkdir(mode=0o700, exist_ok=True)
        for blob in (place / "blobs").iterdir():
            shutil.move(blob, home / "blobs" / blob.name)
        for name in (*filter(lambda log: (place / log).exists(), _LOGS), "token", "key"):
            os.replace(place / name, home / name)
    return about, config


def check_used(home: Path) -> None:
    """Raises `NotFoundError` for a home in which no server has run."""
    if not (home / "key").exists():
        raise NotFoundError(f"{home} has nothing to back up: no server has run there; INRUSH_HOME names another home")


def check_empty(home: Path) -> None:
    """Raises `AlreadyExistsError` if a home has the state of a server."""
    for name in STATE:
        path = home / name
        if any(map(Path.is_file, path.iterdir())) if path.is_dir() else path.exists():
            raise AlreadyExistsError(
                f"{home} has a server's state already ({name}): move that home aside, or name another by INRUSH_HOME"
            )


@contextlib.contextmanager
def _workplace(home: Path, name: str) -> Iterator[Path]:
    """A folder of the home for the work in progress, for one command at a time. What a killed one left goes first."""
    place = home / "run" / name
    with open(place.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyExistsError(f"another {name} of {home} is under way; wait for its end") from None
        with _emptied(place):
            yield place


@contextlib.contextmanager
def _emptied(place: Path) -> Iterator[Path]:
    """A new folder, which is removed at the end."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _link(blobs: Path, to: Path) -> None:
    for entry in os.scandir(blobs):
        if not entry.name.endswith(PART_SUFFIX) and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                os.link(entry.path, to / entry.name, follow_symlinks=False)


def _add_log(tar: tarfile.TarFile, path: Path) -> None:
    """Adds the two halves of a log. If the server renames the newer one to the older one meanwhile, that one is all
    there is to add."""
    older = path.with_name(f"{path.name}.1")
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(half.open("rb")) for half in (path, older) if half.exists()]
        if len(files) == 2 and os.path.samestat(*(os.fstat(file.fileno()) for file in files)):
            files.pop()
        for file in files:
            _add_open(tar, Path(file.name).name, file)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), 0o600, time.time()
    tar.addfile(info, io.BytesIO(content))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    with open(path, "rb") as file:
        _add_open(tar, name, file)


def _add_open(tar: tarfile.TarFile, name: str, file: BinaryIO) -> None:
    info, stat = tarfile.TarInfo(name), os.fstat(file.fileno())
    info.size, info.mode, info.mtime = stat.st_size, 0o600, stat.st_mtime
    tar.addfile(info, file)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _extract(file: BinaryIO, place: Path, version: str) -> About:
    """Extracts the entries of a backup. Only the names of the format are written, as plain files."""
    about: dict[str, Any] | None = None
    blobs = 0
    try:
        with tarfile.open(fileobj=file, mode="r|") as tar:
            for entry in tar:
                if not entry.isreg() or (about is None) != (entry.name == _ABOUT):
                    break
                if entry.name in _SMALL and entry.size > MAX_SMALL_BYTES:
                    break
                if entry.name in _LOGS and entry.size > MAX_LOG_BYTES:
                    break
                if entry.name not in (*_SMALL, *_LOGS, _STORE) and not _BLOB.fullmatch(entry.name):
                    break
                _write_out(tar, entry, place / entry.name)
                if entry.name == _ABOUT:
                    about = _checked(json.loads((place / _ABOUT).read_bytes()), version)
                blobs += entry.name.startswith("blobs/")
                if about is not None and entry.name == _END:
                    if json.loads((place / _END).read_bytes())["blobs"] == blobs and _is_whole(place):
                        return About(str(about["version"]), float(about["made"]), blobs)
                    break
    except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError) as error:
        raise InvalidError(f"this is no whole backup: {error}; was it truncated?") from None
    raise InvalidError("this is no whole backup, or none of `inrush backup`; was it truncated?")


def _checked(about: dict[str, Any], version: str) -> dict[str, Any]:
    theirs = str(about["version"])
    if about["format"] != FORMAT or _minor(theirs) > _minor(version):
        raise VersionError(
            f"the backup was made by inrush {theirs}, and this is {version}; install inrush {theirs} here"
        )
    return about


def _minor(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split(".")[:2])


def _is_whole(place: Path) -> bool:
    return all((place / name).exists() for name in (_STORE, "token", "key"))


def _write_out(tar: tarfile.TarFile, entry: tarfile.TarInfo, to: Path) -> None:
    source = tar.extractfile(entry)
    assert source is not None
    with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        shutil.copyfileobj(source, target, 1024 * 1024)
        if target.tell() != entry.size:
            raise InvalidError(f"this is no whole backup: {entry.name} was truncated")
    os.utime(to, (entry.mtime, entry.mtime))


def _parsed(config: bytes | None) -> dict[str, Any]:
    import tomllib

    return tomllib.loads((config or b"").decode())
