"""The audit log: who deployed, stopped and changed what, who ran commands in which container, and who was refused what.

A line of `audit.log` in the home is one act as JSON. A file that has reached half of its limit is renamed, and replaces
the older half. An act is written before it is answered. Neither values of secrets nor tokens are written.

Refusals are in `refused.log`, so that nobody can push acts out of `audit.log` by being refused often. Of equal refusals
within `COUNTED_S` the first is written at once, and the others as one line with their number.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from inrush.errors import PermissionDeniedError
from inrush.server.trust.principal import Principal, Right

log = logging.getLogger(__name__)

MAX_AUDIT_BYTES = 16 * 1024 * 1024
MAX_REFUSED_BYTES = 2 * 1024 * 1024
MAX_REFUSED_KINDS = 1000
"""The most pairs of principal and operation whose refusals are counted; above it, the oldest count is written."""
MAX_AUDIT_LINES = 10_000
"""The most acts in one answer."""
MAX_TEXT_CHARACTERS = 200
COUNTED_S = 60.0
"""Equal refusals within this time share a line."""
NOBODY = Principal("", "somebody without a valid token", frozenset())
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Ring:
    """A log file with a limit in bytes, in two halves."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path, self._half = path, limit_bytes // 2
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size

    def write(self, told: dict[str, Any]) -> None:
        line = msgspec.json.encode(told) + b"\n"
        try:
            if self._size + len(line) > self._half:
                os.close(self._file)
                self._path.replace(self._path.with_suffix(".log.1"))
                self._open()
            os.write(self._file, line)
            self._size += len(line)
        except OSError as error:
            log.error("an act could not be written to %s: %s; it was: %s", self._path, error, line.decode())

    def lines(self) -> Iterator[dict[str, Any]]:
        """Reads all entries from the files, the oldest first."""
        for path in (self._path.with_suffix(".log.1"), self._path):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                for line in file:
                    with contextlib.suppress(msgspec.DecodeError):  # a line that a crash cut
                        yield _decode(line)

    def close(self) -> None:
        os.close(self._file)


class Audit:
    """The audit log of one home."""

    def __init__(
        self, home: Path, limit_bytes: int = MAX_AUDIT_BYTES, refused_limit_bytes: int = MAX_REFUSED_BYTES
    ) -> None:
        self._acts = Ring(home / "audit.log", limit_bytes)
        self._refused = Ring(home / "refused.log", refused_limit_bytes)
        self._counted: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()
        """Counts of refusals that are not written yet, by principal and operation. `since` is the time of the first."""

    def note(self, who: Principal, what: str, environment: str, about: str = "") -> None:
        """Writes an act: `who` did `what`, such as `deploy`, to what it is `about`."""
        self._acts.write(_act(who, what, environment, about))

    def need(self, who: Principal, right: Right, what: str, everywhere: bool = False) -> None:
        """Raises `PermissionDeniedError` if a principal lacks the right for an operation, and logs the refusal."""
        try:
            who.need(right, what, everywhere)
        except PermissionDeniedError:
            self.refused(who, what)
            raise

    def refused(self, who: Principal, what: str, about: str = "") -> None:
        """Logs that a principal was refused an operation."""
        act, key = _act(who, what, who.environment, about), (who.name, what)
        counted = self._counted.get(key)
        if counted is not None and time.time() - counted["since"] < COUNTED_S:
            counted["times"] += 1
            counted["act"] = act
            return
        self._write_count(key)
        self._refused.write(act)
        self._counted[key] = {"since": act["time"], "times": 0, "act": act}
        if len(self._counted) > MAX_REFUSED_KINDS:
            self._write_count(next(iter(self._counted)))

    def _write_count(self, key: tuple[str, str]) -> None:
        counted = self._counted.pop(key, None)
        if counted is not None and counted["times"]:
            self._refused.write({**counted["act"], "times": counted["times"]})

    def _write_counts(self) -> None:
        for key in list(self._counted):
            self._write_count(key)

    def latest(self, count: int, who: Principal, refused: bool = False) -> list[dict[str, Any]]:
        """The latest acts, or refusals, in environments that `who` reaches, the oldest first."""
        if refused:
            self._write_counts()
        lines = (self._refused if refused else self._acts).lines()
        kept: deque[dict[str, Any]] = deque(maxlen=min(max(count, 0), MAX_AUDIT_LINES))
        kept.extend(act for act in lines if who.reaches(act.get("environment", "")))
        return list(kept)

    def close(self) -> None:
        """Writes the counts, and closes the files."""
        self._write_counts()
        self._acts.close()
        self._refused.close()


def _act(who: Principal, what: str, environment: str, about: str) -> dict[str, Any]:
    told = {"who": who.name, "what": what, "environment": environment, "about": about}
    return {"time": time.time(), "token": who.id, **{key: text[:MAX_TEXT_CHARACTERS] for key, text in told.items()}}
