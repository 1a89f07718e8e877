"""The audit log: who deployed, stopped and changed what, and who went into which container.

A line of `audit.log` in the home is one act as JSON. The file is cut in halves of its limit: the full one is renamed
and replaces the older. An act is written before it is answered, and neither values of secrets nor tokens are in it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from inrush.server.trust.principal import Principal

log = logging.getLogger(__name__)

MAX_AUDIT_BYTES = 16 * 1024 * 1024
MAX_AUDIT_LINES = 10_000
"""Acts that are told at once."""
MAX_TEXT_CHARACTERS = 200
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Audit:
    """One home's."""

    def __init__(self, path: Path, limit_bytes: int = MAX_AUDIT_BYTES) -> None:
        self._path, self._half = path, limit_bytes // 2
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size

    def note(self, who: Principal, what: str, environment: str, about: str = "") -> None:
        """`what` was done, such as `deploy`, to what it is `about`."""
        told = (what, environment, about)
        what, environment, about = (text[:MAX_TEXT_CHARACTERS] for text in told)
        line = msgspec.json.encode({
            "time": time.time(),
            "who": who.name[:MAX_TEXT_CHARACTERS],
            "token": who.id,
            "what": what,
            "environment": environment,
            "about": about,
        }) + b"\n"  # fmt: skip
        try:
            if self._size + len(line) > self._half:
                self._rotate()
            os.write(self._file, line)
            self._size += len(line)
        except OSError as error:
            log.error("an act could not be written to %s: %s; it was: %s", self._path, error, line.decode())

    def _rotate(self) -> None:
        os.close(self._file)
        self._path.replace(self._path.with_suffix(".log.1"))
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = 0

    def latest(self, count: int, who: Principal) -> list[dict[str, Any]]:
        """The last acts in environments that `who` reaches, the oldest first. Reads the files."""
        kept: deque[dict[str, Any]] = deque(maxlen=min(max(count, 0), MAX_AUDIT_LINES))
        for path in (self._path.with_suffix(".log.1"), self._path):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                for line in file:
                    with contextlib.suppress(msgspec.DecodeError):  # a line that a crash cut
                        act = _decode(line)
                        if who.reaches(act.get("environment", "")):
                            kept.append(act)
        return list(kept)

    def close(self) -> None:
        """Ends it."""
        os.close(self._file)
