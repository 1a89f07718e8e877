"""What a running program shows beside its own output: log lines of containers, image builds, and why calls wait.

The link's thread calls an `Output`; the command line has one that draws. `enable_output()` shows log lines as plain
text.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from collections.abc import Iterator
from typing import Protocol, TextIO

from inrush.client._progress import Maps, paced
from inrush.errors import InvalidError
from inrush.lines import is_drawing
from inrush.shown import harmless
from inrush.wire import Log, Progress, Retried, State


class Output(Protocol):
    """Takes what the server reports. The link's thread calls it, and `maps` also those that run maps."""

    maps: Maps
    interactive: bool
    """Whether a person sits at its terminal, whom code in a container may ask for it."""

    def log(self, line: Log) -> None:
        """A line that a container printed."""

    def progress(self, told: Progress) -> None:
        """A step or a line of an image build."""

    def state(self, told: State) -> None:
        """A container changed, or what calls wait for changed, or inputs are tried again, or code asks for the
        terminal."""

    def link(self, text: str) -> None:
        """The link to the server was lost, or is there again."""


class Lines:
    """Prints log lines to the stream that they were printed to, and remarks of inrush to stderr. How far maps are is
    one line that is drawn again, in a notebook and on a terminal; elsewhere it is told every few seconds."""

    interactive = False

    def __init__(self) -> None:
        self._drawn = ""
        self._lock = threading.RLock()
        self.maps = Maps(self._say, self._draw if _redraws() else paced(self._say))

    def log(self, line: Log) -> None:
        if line.stream != "end" and not is_drawing(line.text):
            self._put(line.text.rstrip("\n"), sys.stdout if line.stream == "stdout" else sys.stderr)

    def progress(self, told: Progress) -> None:
        if told.kind in ("step", "line"):
            self._say(f"building: {told.text.rstrip()}")

    def state(self, told: State) -> None:
        if told.kind == "waiting" and told.why:
            self._say(f"waiting: {told.subject}: {told.why}")
        elif told.kind == "retry":
            self.maps.retry(told)

    def link(self, text: str) -> None:
        self._say(text)

    def _say(self, text: str) -> None:
        self._put(text, sys.stderr)

    def _put(self, text: str, stream: TextIO) -> None:
        with self._lock:
            self._draw([])
            _put(text, stream)

    def _draw(self, lines: list[str]) -> None:
        with self._lock:
            text = "; ".join(lines)[: shutil.get_terminal_size().columns - 1]
            if text != self._drawn:
                _put(f"{text:{len(self._drawn)}}", sys.stderr, before="\r", end="" if text else "\r")
            self._drawn = text


def _redraws() -> bool:
    """Whether a carriage return has a line drawn again: on a terminal, and in a notebook."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel")


def _put(text: str, stream: TextIO, before: str = "", end: str = "\n") -> None:
    """Prints text of somebody else. What the stream's encoding lacks is replaced: a terminal that knows less than the
    program must not end its output."""
    text = harmless(text)
    with contextlib.suppress(UnicodeError, LookupError):
        encoding = stream.encoding or "utf-8"
        text = text.encode(encoding, "replace").decode(encoding)
    print(before + text, file=stream, flush=True, end=end)


_current: Output | None = None


def current() -> Output | None:
    """The output in use; None where nobody wants to see any."""
    return _current


def need_person() -> None:
    """Raises `InvalidError` where no person sits at the output in use."""
    if _current is None or not _current.interactive:
        raise InvalidError("app.run(interactive=True) works in a program that `inrush run -i` runs, at a terminal")


def tell_of_link(text: str) -> None:
    """Says that the link was lost, or is there again: where output is shown, else to the log of the program, which
    prints warnings to stderr unless it is told otherwise."""
    output = _current
    if output is not None:
        output.link(text)
        return
    import logging

    logging.getLogger("inrush").warning(text)


def tell_of_retry(told: Retried) -> None:
    """Says that inputs of a call are tried again, where output is shown."""
    if _current is not None:
        inputs = " ".join(map(str, told.indexes))
        _current.maps.retry(State(0, "retry", told.function, f"{told.call} {inputs}", told.why))


@contextlib.contextmanager
def use(output: Output) -> Iterator[None]:
    """Shows what apps do that are started in the block."""
    global _current
    before, _current = _current, output
    try:
        yield
    finally:
        _current = before
        output.maps.close()


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
