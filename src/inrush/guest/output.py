"""Python's stdout and stderr: lines are sent as `log` frames, tagged with the call that they belong to.

A line is sent when it is whole, or flushed. Unfinished lines are kept per input (or thread), so the lines of inputs
that print at the same time do not mix. A progress bar, which returns to the beginning of its line, is one line; its
state is sent now and then while it is drawn (`lines`). The streams go on working after user code has closed them. What
native code and subprocesses write to the descriptors reaches the agent by pipes.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

from inrush.guest.attempt import Attempt, current
from inrush.guest.outbox import Outbox
from inrush.lines import drawing, settled

PIECE_CHARS = 32 * 1024
"""A longer write is sent in pieces, and a longer line is cut."""


MAX_PARTS = 1024
"""The most unfinished lines that a stream keeps; beyond it, all are sent."""

DRAW_S = 0.5
"""The state of a progress bar leaves at most so often."""


class Stream(io.TextIOBase):
    """One of the two streams. `fileno` is the descriptor that a subprocess may be given."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, name: str, fd: int) -> None:
        self.outbox: Outbox | None = None
        self._stream = name
        self._fd = fd
        self._parts: dict[Attempt | int, str] = {}
        self._draw_at = 0.0
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
            self._emit(attempt, settled(part + lines) + newline)
        else:
            rest = part + rest
        if len(rest) >= PIECE_CHARS:
            rest = drawing(rest) or rest
        if len(rest) >= PIECE_CHARS:
            self._emit(attempt, rest)
        elif rest:
            self._parts[key] = rest
            if len(self._parts) > MAX_PARTS:
                self.flush_all()

    def _emit(self, attempt: Attempt | None, text: str, flush: bool = False) -> None:
        if attempt is None or attempt.interrupter is None or not attempt.interrupter.mine:
            self._log(attempt.call if attempt else "", text, flush)
        else:
            with attempt.interrupter:
                self._log(attempt.call, text, flush)

    def _log(self, call: str, text: str, flush: bool = False) -> None:
        """Python never holds back what is written to stderr, and neither does this."""
        if self.outbox is not None:
            self.outbox.log(call, self._stream, text, flush or self._fd == 2)
            return
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(self._fd, data) :]

    def writelines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            self.write(line)

    def reconfigure(self, **options: Any) -> None:
        """Has no effect: output is always UTF-8, one line at a time."""

    def flush(self) -> None:
        """All that was written is with the agent, so that it outlives this process; of a bar, the state now and
        then."""
        attempt = current.get()
        key = attempt or threading.get_ident()
        part = self._parts.pop(key, "")
        state = drawing(part)
        if state:
            self._parts[key] = state
            now = time.monotonic()
            if now < self._draw_at:
                return
            self._draw_at = now + DRAW_S
        self._emit(attempt, state or part, flush=True)

    def flush_all(self) -> None:
        """Sends all unfinished lines, of all inputs and threads."""
        while self._parts:
            key, part = self._parts.popitem()
            self._log(key.call if isinstance(key, Attempt) else "", settled(part))

    def end(self, attempt: Attempt) -> None:
        """Sends the last line of an attempt that has ended, if the line is unfinished."""
        part = self._parts.pop(attempt, "") if self._parts else ""
        if part:
            self._log(attempt.call, settled(part))

    def close(self) -> None:
        """Flushes, and stays open, since the next input prints too."""
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
    """Both streams, in place of Python's own. Until they are connected they write to the descriptors. A template makes
    them, since user code may keep a reference (logging does), and its children connect them."""

    def __init__(self) -> None:
        self._streams = (Stream("stdout", 1), Stream("stderr", 2))
        sys.stdout, sys.stderr = self._streams

    def connect(self, outbox: Outbox) -> None:
        """Sends what is printed from here on to the agent as frames."""
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
        """Puts Python's own streams back, in children that user code forks."""
        sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
