"""What a running program shows beside its own output: log lines of containers, image builds, and why calls wait.

The link's thread calls an `Output`; the command line has one that draws. `enable_output()` shows log lines as plain
text.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol, TextIO

from inrush.lines import is_drawing
from inrush.shown import harmless
from inrush.wire import Log, Progress, State


class Output(Protocol):
    """Takes what the server reports. The link's thread calls it."""

    def log(self, line: Log) -> None:
        """A line that a container printed."""

    def progress(self, told: Progress) -> None:
        """A step or a line of an image build."""

    def state(self, told: State) -> None:
        """A container changed, or what calls wait for changed."""


class Lines:
    """Prints log lines to the stream that they were printed to, and remarks of inrush to stderr."""

    def log(self, line: Log) -> None:
        if line.stream != "end" and not is_drawing(line.text):
            _put(line.text.rstrip("\n"), sys.stdout if line.stream == "stdout" else sys.stderr)

    def progress(self, told: Progress) -> None:
        if told.kind in ("step", "line"):
            _put(f"building: {told.text.rstrip()}", sys.stderr)

    def state(self, told: State) -> None:
        if told.kind == "waiting" and told.why:
            _put(f"waiting: {told.subject}: {told.why}", sys.stderr)


def _put(text: str, stream: TextIO) -> None:
    """Prints text of somebody else. What the stream's encoding lacks is replaced: a terminal that knows less than the
    program must not end its output."""
    text = harmless(text)
    with contextlib.suppress(UnicodeError, LookupError):
        encoding = stream.encoding or "utf-8"
        text = text.encode(encoding, "replace").decode(encoding)
    print(text, file=stream, flush=True)


_current: Output | None = None


def current() -> Output | None:
    """The output in use; None where nobody wants to see any."""
    return _current


@contextlib.contextmanager
def use(output: Output) -> Iterator[None]:
    """Shows what apps do that are started in the block."""
    global _current
    before, _current = _current, output
    try:
        yield
    finally:
        _current = before


@contextlib.contextmanager
def enable_output() -> Iterator[None]:
    """`with inrush.enable_output(), app.run(): …` prints what containers print, image builds, and what calls wait for.

    In `inrush run` that is on already.
    """
    if _current is not None:
        yield
        return
    with use(Lines()):
        yield
