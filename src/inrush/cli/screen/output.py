"""What a running program shows beside its own output: what containers print, image builds, and what calls wait for.

On a terminal a few lines at the bottom tell what goes on now, and everything else scrolls above them. Elsewhere there
are plain lines: what containers print goes to the stream that they printed it to, what inrush has to say to stderr.
Lines that tell of the app itself (it has ended) are for `inrush app logs`: who runs it knows.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from inrush.cli.screen import screen
from inrush.client._output import use
from inrush.client._progress import Maps, paced
from inrush.lines import is_drawing
from inrush.shown import visible, visible_lines
from inrush.wire import Log, Progress, State

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

_COLOURS = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan", "bright_green", "bright_magenta")
_TURNING = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_WAITS_SHOWN = 5
_BARS_SHOWN = 5
_MAPS_SHOWN = 5
_LINE_CHARACTERS = 200


@contextlib.contextmanager
def shown(quiet: bool = False, timestamps: bool = False) -> Iterator[Plain | Live]:
    """Apps that are started in the block show what they do, as it fits where we are. If `quiet`, they show only what
    containers print."""
    if quiet or not sys.stderr.isatty():
        plain = Quiet(timestamps=timestamps) if quiet else Plain(timestamps=timestamps)
        with use(plain):
            yield plain
        return
    live = Live(timestamps)
    try:
        with use(live):
            yield live
    finally:
        live.close()


def _is_programs(line: Log) -> bool:
    """Whether a line belongs to the program. That an app or a container ended is told by errors and results instead."""
    return bool(line.container) and line.stream != "end"


class Plain:
    """Plain lines, for files and pipes. What calls wait for is told only when it lasts, since a start takes
    milliseconds."""

    interactive = False

    def __init__(self, patience_s: float = 1.0, timestamps: bool = False) -> None:
        self._patience_s = patience_s
        self._timestamps = timestamps
        self._waiting: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._pending: set[str] = set()
        self.maps = Maps(self.link, paced(self.link))

    def say(self, text: str, err: bool = False) -> None:
        """Prints a line."""
        screen.say(text, err=err)

    def leave(self) -> None:
        """Takes a terminal back that a container was lent; here none is."""

    def log(self, line: Log) -> None:
        if _is_programs(line) and not is_drawing(line.text):
            before = f"{screen.timestamp(line.time)} " if self._timestamps else ""
            for text in visible_lines(line.text):
                self.say(f"{before}{line.container} {text}", err=line.stream != "stdout")

    def progress(self, told: Progress) -> None:
        if told.kind == "step":
            self.say(f"building: {told.text}", err=True)
        elif told.kind == "line":
            self.say(f"  {visible(told.text)}", err=True)

    def link(self, text: str) -> None:
        self.say(text, err=True)

    def state(self, told: State) -> None:
        if told.kind == "retry":
            self.maps.retry(told)
        if told.kind != "waiting":
            return
        self._waiting[told.subject] = told.why
        if told.why and told.subject not in self._pending:
            self._pending.add(told.subject)
            timer = threading.Timer(self._patience_s, self._tell, [told.subject])
            timer.daemon = True
            timer.start()

    def _tell(self, function: str) -> None:
        self._pending.discard(function)
        why = self._waiting[function]
        if why and self._told.get(function) != why:
            self.say(f"waiting: {function}: {why}", err=True)
        self._told[function] = why


class Quiet(Plain):
    """Only what containers print."""

    def progress(self, told: Progress) -> None:
        return

    def link(self, text: str) -> None:
        return

    def state(self, told: State) -> None:
        return


class Live:
    """Lines at the bottom of a terminal, shown only while there is something to tell."""

    interactive = False

    def __init__(self, timestamps: bool = False) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._lock = threading.RLock()
        self._timestamps = timestamps
        self._steps: dict[int, str] = {}
        self._lines: dict[int, str] = {}
        self._bars: dict[str, str] = {}
        """Progress bars that containers draw."""
        self._containers: dict[str, str] = {}
        self._waiting: dict[str, str] = {}
        self._maps: list[str] = []
        self.maps = Maps(self.link, self._draw_maps)
        self._live = RichLive(
            console=self._console,
            get_renderable=self._draw,
            transient=True,
            refresh_per_second=10,
            redirect_stdout=screen.is_terminal(),  # else results go where they are piped to
        )

    def log(self, line: Log) -> None:
        from rich.text import Text

        if not _is_programs(line):
            return
        with self._lock:
            self._bars.pop(line.container, None)
            if is_drawing(line.text):
                self._bars[line.container] = visible(line.text)[:_LINE_CHARACTERS]
            self._refresh()
        if not is_drawing(line.text):
            colour = _COLOURS[sum(line.container.encode()) % len(_COLOURS)]
            before = f"{screen.timestamp(line.time)} " if self._timestamps else ""
            if line.stream == "stdout" and not screen.is_terminal():
                for text in visible_lines(line.text):
                    screen.say(f"{before}{line.container} {text}")
                return
            for shown in map(screen.drawn, visible_lines(line.text)):
                shown.stylize_before("dim" if line.stream != "stdout" else "")
                self._console.print(Text.assemble(before, (line.container, colour)), shown)

    def progress(self, told: Progress) -> None:
        with self._lock:
            if told.kind == "line":
                self._lines[told.rid] = visible(told.text)[:_LINE_CHARACTERS]
            else:
                self._finish_step(told.rid)
            if told.kind == "step":
                self._steps[told.rid] = told.text
            self._refresh()

    def state(self, told: State) -> None:
        with self._lock:
            if told.kind == "container":
                self._containers.pop(told.subject, None)
                if told.state == "ended":
                    self._bars.pop(told.subject, None)
                if told.state != "ended":
                    self._containers[told.subject] = told.state
            elif told.kind == "retry":
                self.maps.retry(told)
            else:
                self._waiting.pop(told.subject, None)
                if told.why:
                    self._waiting[told.subject] = told.why
            self._refresh()

    def link(self, text: str) -> None:
        self._console.print(screen.drawn(text))

    def _draw_maps(self, lines: list[str]) -> None:
        with self._lock:
            self._maps = lines
            self._refresh()

    def leave(self) -> None:
        """Takes a terminal back that a container was lent; here none is."""

    def close(self) -> None:
        """Removes the lines."""
        with self._lock:
            self._live.stop()

    def _finish_step(self, rid: int) -> None:
        self._lines.pop(rid, None)
        step = self._steps.pop(rid, None)
        if step is not None:
            from rich.text import Text

            self._console.print(Text.assemble(("built ", "green"), screen.drawn(step)))

    def _refresh(self) -> None:
        busy = bool(
            self._steps
            or self._waiting
            or self._maps
            or self._bars
            or any(state == "starting" for state in self._containers.values())
        )
        if busy and not self._live.is_started:
            self._live.start()
        elif not busy and self._live.is_started:
            self._live.stop()

    def _draw(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        # Rich's thread calls this under rich's lock; to take ours too could lock both up, so copies must do.
        turning = _TURNING[int(time.monotonic() * 10) % len(_TURNING)]
        texts = list(self._steps.values())
        steps = [Text.assemble(turning, (" building ", "bold"), screen.drawn(text)) for text in texts]
        bars = list(self._bars.values())[:_BARS_SHOWN]
        lines = [_one_line(f"  {line}") for line in (*list(self._lines.values()), *bars)]
        waits = [
            Text.assemble(turning, (" waiting ", "bold yellow"), screen.drawn(f"{function}: {why}"))
            for function, why in list(self._waiting.items())[:_WAITS_SHOWN]
        ]
        counts = Counter(list(self._containers.values()))
        told = (
            [Text("containers: " + ", ".join(f"{n} {state}" for state, n in sorted(counts.items())))] if counts else []
        )
        maps = [_one_line(text) for text in self._maps[:_MAPS_SHOWN]]
        return Group(*steps, *lines, *waits, *maps, *told)


def _one_line(text: str) -> Text:
    found = screen.drawn(text)
    found.stylize_before("dim")
    found.no_wrap, found.overflow = True, "ellipsis"
    return found
