"""Python's stdout and stderr: lines leave as `log` frames, tagged with the call they belong to.

A line leaves when it is whole, or flushed; parts of lines are kept per input (or thread), so inputs that print at
once do not mix within a line. User code may close these streams, or lose them: they stay. What native code and
subprocesses write goes to the descriptors, and reaches the agent by pipes.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterable
from typing import Any

from inrush.guest.attempt import Attempt, current
from inrush.guest.outbox import Outbox

PIECE_CHARS = 32 * 1024
"""A longer write leaves in pieces, and a longer line is cut."""


MAX_PARTS = 1024
"""Unfinished lines kept at once."""


class Stream(io.TextIOBase):
    """One of the two. `fileno` is the descriptor that a subprocess may be given."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, name: str, fd: int) -> None:
        self.outbox: Outbox | None = None
        self._stream = name
        self._fd = fd
        self._parts: dict[Attempt | int, str] = {}
        self.name = f"<{name}>"
        self.mode = "w"
        self.buffer = _Bytes(self)

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        for start in range(0, len(text), PIECE_CHARS):
            self._write(text[start : start + PIECE_CHARS])
        return len(text)

    def _write(self, text: str) -> None:
        attempt = current.get()
        key = attempt or threading.get_ident()
        part = self._parts.pop(key, "")
        lines, newline, rest = text.rpartition("\n")
        if newline:
            self._emit(attempt, part + lines + newline)
        else:
            rest = part + rest
        if len(rest) >= PIECE_CHARS:
            self._emit(attempt, rest)
        elif rest:
            self._parts[key] = rest
            if len(self._parts) > MAX_PARTS:
                self.flush_all()

    def _emit(self, attempt: Attempt | None, text: str) -> None:
        if attempt is None or attempt.interrupter is None or not attempt.interrupter.mine:
            self._log(attempt.call if attempt else "", text)
        else:
            with attempt.interrupter:
                self._log(attempt.call, text)

    def _log(self, call: str, text: str) -> None:
        if self.outbox is not None:
            self.outbox.log(call, self._stream, text)
            return
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._fd, data) :]

    def writelines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            self.write(line)

    def reconfigure(self, **options: Any) -> None:
        """Accepted, and without effect: output is UTF-8, a line at a time."""

    def flush(self) -> None:
        attempt = current.get()
        part = self._parts.pop(attempt or threading.get_ident(), "")
        if part:
            self._emit(attempt, part)

    def flush_all(self) -> None:
        """All parts of lines, whoever wrote them."""
        while self._parts:
            key, part = self._parts.popitem()
            self._log(key.call if isinstance(key, Attempt) else "", part)

    def end(self, attempt: Attempt) -> None:
        """The attempt has ended: its last line, if it has no end."""
        part = self._parts.pop(attempt, "") if self._parts else ""
        if part:
            self._log(attempt.call, part)

    def close(self) -> None:
        """Nothing: the next input prints too."""
        self.flush()

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True


class _Bytes(io.RawIOBase):
    """`sys.stdout.buffer`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), PIECE_CHARS):
            self._stream.write(bytes(view[start : start + PIECE_CHARS]).decode("utf-8", "replace"))
        return len(view)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True


class Output:
    """Both streams, in place of Python's own. Until they are connected they write to the descriptors: in a
    template, where user code may keep them (logging does), for its children to have them connected."""

    def __init__(self) -> None:
        self._streams = (Stream("stdout", 1), Stream("stderr", 2))
        sys.stdout, sys.stderr = self._streams

    def connect(self, outbox: Outbox) -> None:
        """From here on, what is printed goes to the agent as frames."""
        for stream in self._streams:
            stream.outbox = outbox

    def end(self, attempt: Attempt) -> None:
        for stream in self._streams:
            stream.end(attempt)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush_all()

    @staticmethod
    def restore() -> None:
        """Python's own streams again: in children that user code forks."""
        sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
