"""How far maps are: inputs done of all, rate, time left, and which inputs failed or are tried again.

A map only counts. One thread for each output looks at the counts a few times a second while maps run, so that being
watched costs a map nothing for each input.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from inrush.wire import State, Status

if TYPE_CHECKING:
    from inrush.client._inflight import Fan

LOOK_S = 0.2
RATE_S = 10.0
"""The rate is that of the last so many seconds."""
LASTING_S = 0.5
"""The end of a map that took less is told at most once in `SHORT_PAUSE_S`, since programs may run thousands."""
SHORT_PAUSE_S = 1.0
FIRST_LINE_S, LINE_S = 2.0, 5.0
"""Where lines cannot be drawn again, one tells how far a map is after so long, and then so often."""
LINES_MAX = 20
"""Inputs of one map, or of one function's other calls, whose retry is told; further ones are counted."""

_ENDS = {
    Status.ERROR: "raised an exception",
    Status.TIMEOUT: "took longer than its timeout",
    Status.CRASHED: "its container died",
    Status.OUT_OF_MEMORY: "its container ran out of memory",
    Status.LOST: "its node went away",
    Status.CANCELLED: "was cancelled",
}


class MapView:
    """One map as it is shown."""

    def __init__(self, fan: Fan, name: str, count: int) -> None:
        self.fan, self.name = fan, name
        self.retries = 0
        self.began = time.monotonic()
        self._count = count
        self._told = 0
        self._samples: deque[tuple[float, int]] = deque([(self.began, 0)])

    def failures(self) -> list[str]:
        """A line for each input that has failed since the last look."""
        failed = self.fan.failed[self._told :]
        self._told += len(failed)
        return [f"{self.name}: input {index} failed: {_ends(status)}" for index, status in failed]

    def text(self, now: float) -> str:
        """How far the map is now."""
        done, count = self.fan.answered, self._total()
        of = f"{done} of {count}" if count >= 0 else f"{done} of {self.fan.sent} so far"
        rate = self._rate(now, done)
        left = f"{_seconds((count - done) / rate)} left" if rate and count >= 0 else ""
        return ", ".join(filter(None, [f"{self.name}: {of}", _per_second(rate), left, *self._trouble()]))

    def end(self, now: float) -> str:
        """How it ended."""
        done, count, took_s = self.fan.answered, self._total(), now - self.began
        of = f"{done} of {count if count >= 0 else f'{self.fan.sent} so far'} in {_seconds(took_s)}"
        early = "stopped at " if done != count else ""
        return ", ".join(
            filter(None, [f"{self.name}: {early}{of}", _per_second(done / max(took_s, 1e-3)), *self._trouble()])
        )

    def remarkable(self, now: float) -> bool:
        """Whether its end is worth a line in any case."""
        return bool(now - self.began >= LASTING_S or self.fan.failures or self.retries)

    def _total(self) -> int:
        return self.fan.total if self.fan.total >= 0 else self._count

    def _rate(self, now: float, done: int) -> float:
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[0][0] < now - RATE_S:
            self._samples.popleft()
        (since, before), *_ = self._samples
        return (done - before) / (now - since) if now > since else 0.0

    def _trouble(self) -> list[str]:
        failed = f"{self.fan.failures} failed" if self.fan.failures else ""
        return [failed, f"{self.retries} tried again" if self.retries else ""]


class Maps:
    """The maps that run now. `say` prints a line that stays, and `draw` shows how far each is, again and again; with no
    lines, none runs any more."""

    def __init__(self, say: Callable[[str], None], draw: Callable[[list[str]], None]) -> None:
        self._say, self._draw = say, draw
        self._views: dict[str, MapView] = {}
        self._retried: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._running = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._short_told = float("-inf")

    def begin(self, fan: Fan, name: str, count: int) -> None:
        """A map begins; `count` is the number of its inputs, or -1."""
        with self._lock:
            self._views[fan.call] = MapView(fan, name, count)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="inrush-maps", daemon=True)
                self._thread.start()
        self._running.set()

    def end(self, fan: Fan) -> None:
        """A map has ended, or its caller has left it."""
        with self._lock:
            view = self._views.pop(fan.call, None)
            self._retried.pop(fan.call, None)
            if not self._views:
                self._running.clear()
                self._draw([])
        if view is None:
            return
        now = time.monotonic()
        for line in view.failures():
            self._say(line)
        if view.remarkable(now) or now - self._short_told >= SHORT_PAUSE_S:
            self._short_told = now
            self._say(view.end(now))

    def retry(self, told: State) -> None:
        """Takes a `State` of kind `retry`."""
        call, *inputs = told.state.split()
        view = self._views.get(call)
        key = call if view is not None else told.subject
        if view is not None:
            view.retries += len(inputs)
        for index in inputs[: max(0, LINES_MAX - self._retried[key])]:
            what = f"input {index}" if view is not None else "a call"
            self._say(f"{told.subject}: {what} failed and is tried again: {told.why}")
        self._retried[key] += len(inputs)

    def close(self) -> None:
        """Ends the thread."""
        self._closed = True
        self._running.set()

    def _look(self) -> None:
        while self._running.wait() and not self._closed:
            time.sleep(LOOK_S)  # first, so that short maps draw nothing
            with self._lock:
                views = list(self._views.values())
                lines = [line for view in views for line in view.failures()]
                texts = [view.text(time.monotonic()) for view in views]
                if texts:
                    self._draw(texts)
            for line in lines:
                self._say(line)


def paced(say: Callable[[str], None]) -> Callable[[list[str]], None]:
    """A `draw` for where lines stay: it prints them every few seconds."""
    due = float("inf")

    def draw(lines: list[str]) -> None:
        nonlocal due
        now = time.monotonic()
        due = min(due, now + FIRST_LINE_S) if lines else float("inf")
        if now >= due:
            due = now + LINE_S
            for line in lines:
                say(line)

    return draw


def _ends(status: int) -> str:
    return _ENDS.get(Status(status), Status(status).name.lower().replace("_", " "))


def _per_second(rate: float) -> str:
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s" if rate else ""


def _seconds(duration_s: float) -> str:
    if duration_s < 1:
        return f"{duration_s * 1000:.0f} ms"
    if duration_s < 90:
        return f"{duration_s:.0f} s"
    minutes = round(duration_s / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
