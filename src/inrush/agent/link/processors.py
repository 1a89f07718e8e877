"""What containers use of this node's processors, and what they would use if nothing else ran.

A thread that ran for r seconds of the last w, and waited for a processor for v of them, runs for r / (w - v) of the
time that it has a processor when it wants one: near 1 if it computes, near 0 if it waits for something else, however
many others compete with it. A container's *use* is the sum over its threads, in cores. Scaling needs it at once when a
function is new, and hardly ever afterwards. So the first look follows `FIRST_S` after containers of a function begin to
start or to serve, and each pause is twice the one before, up to `LAST_S`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

from inrush import wire
from inrush.agent.containers.container import Doing
from inrush.errors import Error
from inrush.launcher.client import Launcher
from inrush.launcher.threads import Times

FIRST_S = 0.02
LAST_S = 1.0
WINDOW_S = 2.0
"""The mean of a function's use is over about this time."""
WAIT_NS = 1e8
"""A thread that could run at the time of a look may have waited for so long, which the kernel has not counted yet."""
BEGIN_S = 0.1
"""Containers of a new function that have not run at all for less than this may not have begun what they were given."""
CHANGE = 0.05
"""Cores. A use that differs from the one last reported by less is not reported."""
MORE = 1.5
"""Factor. A start that has taken so many times the seconds of a core that were last reported is reported."""
MAX_LOOKED = 32
"""Containers that are looked at together."""
MAX_LOOKED_EACH = 8
"""Those of them that are of one function and do the same."""


class _Seen(NamedTuple):
    """A container when it was last looked at: its threads by id, with the nanoseconds that each ran and waited."""

    doing: Doing
    at: float
    threads: dict[int, tuple[int, int]]


class Mean:
    """A mean over the last `WINDOW_S`, and the value that was last reported."""

    __slots__ = ("cores", "reported", "seconds")

    def __init__(self) -> None:
        self.cores, self.seconds, self.reported = 0.0, 0.0, -1.0

    def add(self, cores: float, seconds: float) -> None:
        """Takes in the use over so many seconds."""
        self.seconds = min(self.seconds + seconds, WINDOW_S)
        self.cores += (cores - self.cores) * min(1.0, seconds / self.seconds)


class Processors:
    """Looks at containers and reports. `at_work` lists the containers that start or run inputs now."""

    def __init__(
        self,
        node: str,
        launcher: Launcher,
        at_work: Callable[[], Iterable[tuple[str, Doing]]],
        put: Callable[[wire.FromNode], None],
    ) -> None:
        self._node, self._launcher, self._at_work, self._put = node, launcher, at_work, put
        self._seen: dict[str, _Seen] = {}
        self._means: dict[Doing, Mean] = {}
        self._start_s: dict[str, float] = {}
        self._start_reported_s: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Says that this node measures, and looks from now on. A server that comes back is told everything again."""
        self._means.clear()
        self._start_reported_s.clear()
        self._put(wire.NodeCpu(self._node))
        if self._task is None:
            self._task = asyncio.create_task(self._follow())

    def heed(self, doing: Doing) -> None:
        """A container begins to start, or gets its first inputs: looks at once if nothing is known of such."""
        if doing not in self._means:
            self._wake.set()

    def close(self) -> None:
        """Ends the looks."""
        if self._task is not None:
            self._task.cancel()

    async def _follow(self) -> None:
        pause_s = FIRST_S
        while True:
            self._wake.clear()
            await self._look()
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
                pause_s = FIRST_S
            except TimeoutError:
                pause_s = min(2 * pause_s, LAST_S)

    async def _look(self) -> None:
        """Looks at some containers, and reports what has changed."""
        chosen = self._chosen()
        try:
            now, found = await self._launcher.threads(list(chosen)) if chosen else (0.0, {})
        except Error:
            now, found = 0.0, {}  # the launcher has ended, and with it all containers
        uses: dict[Doing, list[tuple[float, float]]] = {}
        self._means = {doing: self._means.get(doing) or Mean() for doing in chosen.values()}
        self._seen = {id: self._compared(id, chosen[id], now, times, uses) for id, times in found.items()}
        for doing, each in uses.items():
            self._means[doing].add(sum(cores for cores, _ in each) / len(each), max(s for _, s in each))
        self._report()

    def _compared(
        self, id: str, doing: Doing, now: float, times: Times, uses: dict[Doing, list[tuple[float, float]]]
    ) -> _Seen:
        """Adds what a container used since the last look. Returns with what the next look compares it."""
        function, what = doing
        if what == "starting":
            ran_s = sum(ran for _, ran, _, _ in times) / 1e9
            self._start_s[function] = max(ran_s, self._start_s.get(function, 0.0))
        before = self._seen.get(id)
        if before is not None and before.doing == doing:
            cores, seconds = use(before.threads, times, now - before.at), now - before.at
            if not cores and seconds < BEGIN_S and not self._means[doing].seconds:
                return before
            uses.setdefault(doing, []).append((cores, seconds))
        return _Seen(doing, now, {thread: (ran, waited) for thread, ran, waited, _ in times})

    def _chosen(self) -> dict[str, Doing]:
        """The containers to look at: those that were looked at before, and then others."""
        counts: dict[Doing, int] = {}
        chosen: dict[str, Doing] = {}
        at_work = list(self._at_work())
        known = [(id, doing) for id, doing in at_work if id in self._seen]
        for id, doing in (*known, *at_work):
            if id not in chosen and len(chosen) < MAX_LOOKED and counts.get(doing, 0) < MAX_LOOKED_EACH:
                counts[doing] = counts.get(doing, 0) + 1
                chosen[id] = doing
        return chosen

    def _report(self) -> None:
        uses = []
        for function in dict.fromkeys(function for function, _ in self._means):
            means = [self._means.get((function, state)) for state in ("serving", "starting")]
            start_s, reported_s = (of.get(function, -1.0) for of in (self._start_s, self._start_reported_s))
            changed = start_s > MORE * max(reported_s, 0.001)
            if changed or any(mean and mean.seconds and abs(mean.cores - mean.reported) >= CHANGE for mean in means):
                serving, starting = (mean.cores if mean and mean.seconds else -1.0 for mean in means)
                uses.append(wire.Use(function, serving, starting, start_s))
                self._start_reported_s[function] = start_s
                for mean in filter(None, means):
                    mean.reported = mean.cores
        for of in (self._start_s, self._start_reported_s):
            for gone in [function for function in of if (function, "starting") not in self._means]:
                del of[gone]
        if uses:
            self._put(wire.NodeCpu(self._node, tuple(uses)))


def use(before: dict[int, tuple[int, int]], times: Times, seconds: float) -> float:
    """The cores that these threads would have kept busy on an idle machine, over the seconds since `before`."""
    cores = 0.0
    for thread, ran, waited, runnable in times:
        ran_before, waited_before = before.get(thread, (0, 0))
        ran_ns = ran - ran_before
        elsewhere_ns = seconds * 1e9 - (waited - waited_before) - ran_ns - WAIT_NS * runnable
        if ran_ns or runnable:
            cores += 1 / (1 + max(0.0, elsewhere_ns) / max(ran_ns, 1))
    return cores
