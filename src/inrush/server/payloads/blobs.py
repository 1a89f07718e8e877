"""Blobs: payloads and sources that are too large for a message, as files under `home/blobs`.

An id is either random, with 128 bits, or `sha256-<hex>` of the content. Whoever knows a random id may read the blob, so
it is told only to the receivers of the payload. Blobs named by their content (sources, build files) are for clients and
agents, and not for containers.

Blobs that containers of one app make, as results or uploads, may take one part in `SHARE_OF_ONE_APP` of the budget, so
that a hostile app leaves room for others. This is counted in memory, and starts from zero after a restart.

The file system is the only record. The modification time of a file is the time at which it expires: `KEEP_S` after it
was put (`KEEP_SOURCE_S` for sources), and later if a durable call refers to it. A blob that a call or an app *holds* in
memory stays in any case. Over the budget, blobs are removed in the order in which they expire; if all are held, a new
blob is refused.

Blobs are written, swept and read by several threads, while the event loop holds and releases them. One lock guards what
is counted, and the moment in which a file goes: it is looked at once more under the lock, since it may have been held,
or its time begun again, after it was found to have expired.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from inrush.errors import InvalidError, NotFoundError, RequestSizeError, ResourceExhaustedError
from inrush.linux import memory, messages
from inrush.server.payloads.memory import MemoryBlobs
from inrush.server.shares import SHARE_OF_ONE_APP
from inrush.wire import Codec

log = logging.getLogger(__name__)

KEEP_S = 3600.0
KEEP_SOURCE_S = 7 * 86400.0
LINGER_S = 120.0
"""How long a blob stays after its call was forgotten, since a client may still be reading it."""
PART_SUFFIX = ".part"
_RANDOM_ID = re.compile(r"bl-[0-9a-f]{32}")
_BLOB = Codec.BLOB.value


class Blobs:
    """The blobs of one server. Several threads may use it at the same time."""

    def __init__(self, directory: Path, budget_bytes: int, limit_bytes: int, durable_s: float) -> None:
        self._directory = directory
        self._budget, self._limit, self._durable_s = budget_bytes, limit_bytes, durable_s
        self._lock = threading.RLock()
        self._held: Counter[str] = Counter()
        self._memory = MemoryBlobs()
        self._owners: dict[str, str] = {}
        """The apps whose containers made the blobs, by file name."""
        self._owned: Counter[str] = Counter()
        directory.mkdir(mode=0o700, exist_ok=True)
        self._bytes = self._scan()

    def _scan(self) -> int:
        total = 0
        for entry in self._files():
            if entry.name.endswith(PART_SUFFIX):
                os.unlink(entry.path)
            else:
                total += entry.stat().st_size
        return total

    def _files(self) -> list[os.DirEntry[str]]:
        """Complete blobs and parts. The directory has others where it is a file system (`lost+found`), or where a
        backup is being made."""
        return [entry for entry in os.scandir(self._directory) if entry.is_file(follow_symlinks=False)]

    def _path(self, id: str) -> Path:
        if not id.replace("-", "").isalnum() or not id.isascii() or len(id) > 80:
            raise InvalidError(f"{id[:80]!r} is not the id of a blob")
        return self._directory / id

    def exists(self, id: str) -> bool:
        """Whether a blob exists. If it does, its time begins again."""
        if id in self._memory:
            return True
        path = self._path(id)
        try:
            self._keep(path, KEEP_SOURCE_S if id.startswith("sha256-") else KEEP_S)
        except FileNotFoundError:
            return False
        return True

    def size(self, id: str) -> int:
        """The size of a blob in bytes. Raises `NotFoundError`."""
        size = self._memory.size(id)
        if size is not None:
            return size
        try:
            return self._path(id).stat().st_size
        except FileNotFoundError:
            raise _gone(id) from None

    def open(self, id: str) -> BinaryIO:
        """Opens a blob for reading. Raises `NotFoundError`."""
        return os.fdopen(self.descriptor(id), "rb")

    def descriptor(self, id: str) -> int:
        """A descriptor for reading a blob, which the caller closes. Raises `NotFoundError`."""
        try:
            fd = self._memory.open(id)
        except (PermissionError, BlockingIOError):  # its maker has made the memfd unreadable
            raise _gone(id) from None
        if fd is not None:
            return fd
        try:
            return os.open(self._path(id), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _gone(id) from None

    def adopt(self, fd: int, id: str = "", owner: str = "") -> int:
        """Takes over a sealed memfd as the blob of a random `id`. Returns its size in bytes. Raises `InvalidError` if
        it is not sealed or cannot be read, `RequestSizeError`, and `ResourceExhaustedError` if memory is short. The
        descriptor is closed in any case; the blob has another one, for reading."""
        try:
            size = memory.sealed_size(fd)
            if not _RANDOM_ID.fullmatch(id):
                raise InvalidError(f"{id[:80]!r} is not a random id of a blob")
            if size > self._limit:
                raise RequestSizeError(
                    f"a payload of {size >> 20} MiB is over the limit of {self._limit >> 20} MiB "
                    "(setting max_payload_mib)"
                )
            own = memory.reopened(fd)
        except (ValueError, PermissionError, BlockingIOError) as error:
            raise InvalidError(f"a payload was passed by {error}; pass a sealed memfd") from None
        finally:
            messages.discard([fd])
        try:
            self._memory.add(id, own, size, KEEP_S, self._held, owner)
        except BaseException:
            os.close(own)
            raise
        return size

    def read(self, id: str, offset: int, limit: int) -> bytes:
        """Reads up to `limit` bytes of a blob from `offset` on. Raises `NotFoundError`."""
        with self.open(id) as file:
            file.seek(offset)
            return file.read(limit)

    def create(self, digest: str = "", owner: str = "", id: str = "") -> Writer:
        """Begins a new blob. With `digest` (sha256, hex) the content is checked against it at the end. `owner` is the
        app whose container makes it; `id` is a random id to use."""
        return Writer(self, f"sha256-{digest}" if digest else id or new_id(), digest, owner)

    def put(self, data: bytes, digest: str = "", owner: str = "", id: str = "") -> str:
        """Stores a whole blob. Returns its id."""
        writer = self.create(digest, owner, id)
        writer.write(data)
        return writer.commit()

    # ── how long ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def hold(self, ids: Iterable[str], durable: bool = False) -> None:
        """Keeps blobs until `release`. With `durable` they stay over a restart too, for as long as results are kept."""
        for id in ids:
            with self._lock:
                self._held[id] += 1
            if durable and id not in self._memory:
                try:
                    self._keep(self._path(id), self._durable_s + KEEP_S)
                except (FileNotFoundError, InvalidError):
                    log.warning("blob %s is referred to, and does not exist", id)

    def release(self, ids: Iterable[str]) -> None:
        """Undoes one `hold`. After the last one, random blobs expire within `LINGER_S`."""
        for id in ids:
            with self._lock:
                self._held[id] -= 1
                if self._held[id] > 0:
                    continue
                del self._held[id]
            self._memory.keep(id, LINGER_S)
            if not id.startswith("sha256-"):
                with contextlib.suppress(FileNotFoundError, InvalidError):
                    os.utime(self._path(id), (time.time(), time.time() + LINGER_S))

    def sweep(self) -> None:
        """Removes expired blobs."""
        now = time.time()
        self._memory.sweep(self._held)
        for expires, id in self._leavable():
            if expires < now:
                self._remove(id, now)

    def _keep(self, path: Path, seconds: float) -> None:
        until = time.time() + seconds
        with self._lock:
            if path.stat().st_mtime < until:
                os.utime(path, (time.time(), until))

    def _leavable(self) -> Sequence[tuple[float, str]]:
        """Blobs that are not held, with the time at which each expires, in this order."""
        found = []
        for entry in self._files():
            if entry.name not in self._held and not entry.name.endswith(PART_SUFFIX):
                with contextlib.suppress(FileNotFoundError):  # another thread has removed it
                    found.append((entry.stat().st_mtime, entry.name))
        return sorted(found)

    def _remove(self, id: str, expired: float) -> None:
        """Removes a blob, unless by now it is held or expires later than at that time."""
        path = self._directory / id
        with self._lock, contextlib.suppress(FileNotFoundError):
            found = path.stat()
            if id in self._held or found.st_mtime > expired:
                return
            path.unlink()
            self._unreserve(found.st_size, self._owners.pop(id, ""))

    def _unreserve(self, size: int, owner: str) -> None:
        with self._lock:
            self._bytes -= size
            if owner:
                self._owned[owner] -= size
                if self._owned[owner] <= 0:
                    del self._owned[owner]

    def _reserve(self, size: int, owner: str) -> None:
        self._check_share(size, owner)
        if self._bytes + size > self._budget:
            for expires, id in self._leavable():
                if self._bytes + size <= self._budget:
                    break
                self._remove(id, expires)
        with self._lock:
            self._check_share(size, owner)
            if self._bytes + size > self._budget:
                raise ResourceExhaustedError(
                    f"blobs take {self._bytes >> 20} of {self._budget >> 20} MiB (setting blobs_gib), and all are in "
                    "use; try again later"
                )
            self._bytes += size
            if owner:
                self._owned[owner] += size

    def _check_share(self, size: int, owner: str) -> None:
        if owner and self._owned[owner] + size > self._budget // SHARE_OF_ONE_APP:
            raise ResourceExhaustedError(
                f"containers of this app have made {self._owned[owner] >> 20} MiB of large payloads, and may have "
                f"{self._budget // SHARE_OF_ONE_APP >> 20} MiB (half of the setting blobs_gib); try again later"
            )


class Writer:
    """A blob that is being written. It has its id from the start, and others can read it after `commit`."""

    def __init__(self, blobs: Blobs, id: str, digest: str, owner: str = "") -> None:
        self.id = id
        self._blobs, self._digest, self._owner = blobs, digest, owner
        self._path = blobs._path(id)
        self._part = self._path.with_name(f"{id}-{secrets.token_hex(4)}{PART_SUFFIX}")
        self._hash = hashlib.sha256() if digest else None
        self._size = 0
        self._file: BinaryIO | None = os.fdopen(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def write(self, data: bytes) -> None:
        """Appends data. Raises `RequestSizeError` over the limit of a payload, and `ResourceExhaustedError` over the
        budget or on a full disk."""
        if self._file is None:
            raise InvalidError(f"blob {self.id} is complete already")
        if self._size + len(data) > self._blobs._limit:
            self.abort()
            raise RequestSizeError(
                f"the payload is over the limit of {self._blobs._limit >> 20} MiB (setting max_payload_mib)"
            )
        try:
            self._blobs._reserve(len(data), self._owner)
            self._size += len(data)
            self._file.write(data)
        except OSError as error:
            self.abort()
            raise ResourceExhaustedError(f"the blob could not be written: {error.strerror}; free some disk") from None
        except ResourceExhaustedError:
            self.abort()
            raise
        if self._hash is not None:
            self._hash.update(data)

    def commit(self) -> str:
        """Completes the blob. Returns its id. Raises `InvalidError` if the content does not have its digest."""
        if self._file is None:
            return self.id
        if self._hash is not None and self._hash.hexdigest() != self._digest:
            self.abort()
            raise InvalidError(
                f"the content of blob {self.id} does not match its digest, so it was truncated or "
                "changed on the way; send it again"
            )
        try:
            self._file.close()
        except OSError as error:
            self.abort()
            raise ResourceExhaustedError(f"the blob could not be written: {error.strerror}; free some disk") from None
        self._file = None
        until = time.time() + (KEEP_SOURCE_S if self._digest else KEEP_S)
        with self._blobs._lock:
            if self._digest and self._path.exists():
                os.unlink(self._part)
                self._let_go()
            else:
                os.replace(self._part, self._path)
                if self._owner:
                    self._blobs._owners[self.id] = self._owner
            os.utime(self._path, (time.time(), until))
        return self.id

    def close(self) -> None:
        """Commits the blob, like `commit`."""
        self.commit()

    def abort(self) -> None:
        """Drops the blob and what was written of it."""
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError as error:
            log.warning("part of a blob could not be closed: %s", error)
        self._file = None
        self._part.unlink(missing_ok=True)
        self._let_go()

    def _let_go(self) -> None:
        self._blobs._unreserve(self._size, self._owner)


def new_id() -> str:
    """A random id for a blob."""
    return f"bl-{secrets.token_hex(16)}"


class _Reference(msgspec.Struct, frozen=True):
    id: str


_read = msgspec.json.Decoder(_Reference).decode


def referred_ids(payloads: Iterable[bytes]) -> list[str]:
    """The ids of blobs that payloads refer to; most payloads refer to none."""
    ids = []
    for payload in [p for p in payloads if p[:1] == _BLOB]:
        with contextlib.suppress(ValueError, RecursionError):
            ids.append(_read(payload[1:]).id)
    return ids


def _gone(id: str) -> NotFoundError:
    return NotFoundError(f"there is no blob {id!r}; blobs go when their call is forgotten, or after their time")
