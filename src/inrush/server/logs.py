"""What containers print: per app, the latest lines in memory and more of them in a file; followed live.

A line of the file is a JSON array (time, container, function, call, stream, text). The file is cut in two halves of the
setting `logs_mib`: the full one is renamed and replaces the older. A follower that reads too slowly loses lines, and is
told how many.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import msgspec

from inrush.lines import is_drawing

log = logging.getLogger(__name__)

RING_LINES = 5000
RING_BYTES = 2 * 1024 * 1024
FLUSH_S = 0.3
FLUSH_BYTES = 256 * 1024
BACKLOG_LINES = 100_000
KEPT_APPS = 100
"""Log files are kept of so many apps that have ended."""
SYSTEM = "system"


class Line(NamedTuple):
    """A line of a log. `time` is in seconds since the epoch, `stream` is `stdout`, `stderr` or `system`, and `text` may
    hold several lines."""

    time: float
    container: str
    function: str
    call: str
    stream: str
    text: str


class Wanted(NamedTuple):
    """The lines that somebody wants to see: of one container, of one function (with all its variants), of a span of
    time, with a text in them, of one call, and of one source (`stdout`, `stderr` or `system`). An empty field asks for
    nothing."""

    container: str = ""
    function: str = ""
    since: float = 0.0
    until: float = float("inf")
    search: str = ""
    call: str = ""
    source: str = ""

    def of(self, line: Line) -> Line | None:
        """What is wanted of a piece of output: all of it, the lines with the text, or None."""
        if self.container not in ("", line.container) or not self.since <= line.time <= self.until:
            return None
        if self.function and self.function not in (line.function, line.function.partition("(")[0]):
            return None
        if self.call not in ("", line.call) or self.source not in ("", _source(line)):
            return None
        if not self.search:
            return line
        found = [text for text in line.text.splitlines(keepends=True) if self.search in text]
        return line._replace(text="".join(found)) if found else None


def _source(line: Line) -> str:
    return line.stream if line.stream in ("stdout", "stderr") else "system"


ALL = Wanted()


class Follower(Protocol):
    """Receives lines as they come. `room` says whether it can take one now."""

    def room(self) -> bool: ...
    def line(self, line: Line) -> None: ...


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


class Logs:
    """The logs of all apps."""

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        self._directory = directory
        self._limit = limit_bytes
        self._apps: dict[str, _AppLog] = {}
        directory.mkdir(mode=0o700, exist_ok=True)

    def write(self, app: str, line: Line) -> None:
        """Appends a line to the log of an app (its id)."""
        self._log(app).write(line)

    def system(self, app: str, text: str, container: str = "", function: str = "") -> None:
        """Appends a remark of inrush itself to the log of an app."""
        self.write(app, Line(time.time(), container, function, "", SYSTEM, text))

    def follow(self, app: str, follower: Follower) -> Callable[[], None]:
        """Gives the follower each line from now on. Calling the result ends that."""
        return self._log(app).follow(follower)

    def latest(self, app: str, count: int, container: str = "", wanted: Wanted = ALL) -> list[Line]:
        """The latest lines that are wanted, of the app or of one container, oldest first."""
        wanted = wanted._replace(container=container or wanted.container)
        return self._log(app).latest(min(count, BACKLOG_LINES), wanted)

    def close_app(self, app: str) -> None:
        """Closes the log of an app that has ended. Its file stays for a while."""
        ended = self._apps.pop(app, None)
        if ended is not None:
            ended.close()
        files = sorted(self._directory.glob("*.log"), key=lambda path: path.stat().st_mtime)
        for path in files[: max(0, len(files) - KEPT_APPS)]:
            if path.stem not in self._apps:
                path.unlink()
                path.with_suffix(".log.1").unlink(missing_ok=True)

    def close(self) -> None:
        """Writes what is buffered."""
        for one in self._apps.values():
            one.close()
        self._apps.clear()

    def _log(self, app: str) -> _AppLog:
        one = self._apps.get(app)
        if one is None:
            one = self._apps[app] = _AppLog(self._directory / f"{app}.log", self._limit)
        return one


class _AppLog:
    """The log of one app."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path, self._half = path, limit_bytes // 2
        self._ring: deque[Line] = deque()
        self._ring_bytes = 0
        self._dropped = False
        self._followers: dict[Follower, int] = {}
        """Followers, each with the number of lines that it has lost since the last one it got."""
        self._catching_up: asyncio.TimerHandle | None = None
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._file: BinaryIO | None = None
        self._size = path.stat().st_size if path.exists() else 0
        self._dropped = self._size > 0
        self._timer: asyncio.TimerHandle | None = None

    def write(self, line: Line) -> None:
        if not is_drawing(line.text):
            self._keep(line)
        for follower, lost in self._followers.items():
            self._followers[follower] = _tell(follower, line, lost)
            if not lost and self._followers[follower]:
                self._catch_up_soon()

    def _keep(self, line: Line) -> None:
        self._ring.append(line)
        self._ring_bytes += len(line.text)
        while len(self._ring) > RING_LINES or self._ring_bytes > RING_BYTES:
            self._ring_bytes -= len(self._ring.popleft().text)
            self._dropped = True
        entry = _encode(line) + b"\n"
        self._buffer.append(entry)
        self._buffered += len(entry)
        if self._buffered > FLUSH_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def follow(self, follower: Follower) -> Callable[[], None]:
        self._followers[follower] = 0
        return lambda: self._unfollow(follower)

    def _unfollow(self, follower: Follower) -> None:
        self._followers.pop(follower, None)

    def _catch_up_soon(self) -> None:
        if self._catching_up is None:
            self._catching_up = asyncio.get_running_loop().call_later(FLUSH_S, self._catch_up)

    def _catch_up(self) -> None:
        """Tells followers that lost lines so once they have room, even if no further line comes."""
        self._catching_up = None
        for follower, lost in self._followers.items():
            if lost and follower.room():
                follower.line(_left_out(Line(time.time(), "", "", "", SYSTEM, ""), lost))
                self._followers[follower] = 0
        if any(self._followers.values()):
            self._catch_up_soon()

    def latest(self, count: int, wanted: Wanted) -> list[Line]:
        if count <= 0:
            return []
        lines = list(filter(None, map(wanted.of, self._ring)))
        reaches_back = not self._dropped or (bool(self._ring) and self._ring[0].time < wanted.since)
        if len(lines) < count and not reaches_back:
            self._flush()
            return list(deque(filter(None, map(wanted.of, self._read())), maxlen=count))
        return lines[-count:]

    def _read(self) -> Iterator[Line]:
        for path in (self._path.with_suffix(".log.1"), self._path):
            try:
                with path.open("rb") as file:
                    for entry in file:
                        try:
                            yield _decode(entry)
                        except msgspec.DecodeError:
                            continue  # a line that a crash cut
            except FileNotFoundError:
                continue

    def close(self) -> None:
        self._flush()
        if self._catching_up is not None:
            self._catching_up.cancel()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._buffer:
            return
        data = b"".join(self._buffer)
        self._buffer.clear()
        self._buffered = 0
        try:
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)
            self._file.write(data)
            self._size += len(data)
            if self._size >= self._half:
                self._rotate()
        except OSError as error:
            log.warning("%s cannot be written, %d bytes of logs are lost: %s", self._path, len(data), error)

    def _rotate(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._path.replace(self._path.with_suffix(".log.1"))
        self._size = 0


def _tell(follower: Follower, line: Line, lost: int) -> int:
    """Gives text to a follower that has room. Returns how many lines it has lost since the last one it got."""
    if not follower.room():
        return lost + max(1, line.text.count("\n"))
    if lost:
        follower.line(_left_out(line, lost))
    follower.line(line)
    return 0


def _left_out(like: Line, lost: int) -> Line:
    return like._replace(stream=SYSTEM, text=f"… {lost} lines left out: the reader is slower than the writer\n")
