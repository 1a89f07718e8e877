"""The loop: events in, one core step each, effects out.

Everything that the server learns becomes an event in the inbox. A *turn* takes a bounded batch from it and steps the
core once an event; the effects are applied at once and in order, and only queue (`writes` says when links write, rows
go to the writer thread). So a warm call crosses the server within one turn, without a task, a lock or a disk.

A caller that posts a batch calls `hold` before it and `turn` after it; events posted otherwise are stepped in the next
turn of the event loop. Every event is written to the journal before it is stepped.

A step that fails has changed half of what it should have. So the core is made again as it stood before it, by the
journal, and goes on without that event. Where the journal cannot, or defects follow one another, the loop *breaks*: it
steps nothing more, and the server ends, so that the next one begins with what is saved.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from inrush.core.cluster import Cluster
from inrush.core.model.effects import Effect, WakeAt
from inrush.core.model.events import AnyEvent, Tick
from inrush.server.journal import Journal
from inrush.server.writes import Writes

log = logging.getLogger(__name__)

BATCH_EVENTS = 512
"""Events of one turn. The rest waits for the next turn, so that links are served in between."""
TICK_S = 1.0
CHECK_TICKS = 60
MAX_DEFECTS = 3
"""Failed steps within `DEFECTS_S` after which the core goes on; at one more the server ends."""
DEFECTS_S = 60.0
CHECK_LIMIT = 5000
"""The whole state is checked regularly only up to so many calls and containers; a check of more would hold up the
loop."""


class Loop:
    """The only caller of `Cluster.step`. `apply` gets all effects except `WakeAt`, which the loop serves itself;
    `passed` hears of events that the core could not take, and `broke` why nothing more is stepped."""

    def __init__(
        self,
        core: Cluster,
        apply: Callable[[list[Effect]], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        passed: Callable[[AnyEvent], None] = lambda event: None,
        broke: Callable[[str], None] = lambda why: None,
    ) -> None:
        self.core = core
        self.writes = Writes()
        self.journal = Journal(core=core)
        self._ticks = 0
        self._apply, self._passed, self._broke = apply, passed, broke
        self._defects: deque[float] = deque(maxlen=MAX_DEFECTS)
        self._broken = False
        self._clock = clock
        self._inbox: deque[AnyEvent] = deque()
        self._turning = self._held = False
        self._scheduled: asyncio.Handle | None = None
        self._wake: asyncio.TimerHandle | None = None
        self._wake_at = float("inf")
        self._ticker: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to tick. Events may be posted before."""
        self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def stop(self) -> None:
        """Ends ticks and timers. `turn` still steps what is in the inbox."""
        for handle in (self._ticker, self._wake, self._scheduled):
            if handle is not None:
                handle.cancel()
        self._ticker = self._wake = self._scheduled = None
        self._wake_at = float("inf")

    def post(self, event: AnyEvent) -> None:
        """Puts an event into the inbox, to be stepped in this turn or the next."""
        if self._broken:
            return
        self._inbox.append(event)
        if self._scheduled is None and not (self._turning or self._held):
            self._scheduled = asyncio.get_running_loop().call_soon(self.turn)

    def hold(self) -> None:
        """Has posted events and writes of links wait for the `turn` that the caller promises to call."""
        self._held = True
        self.writes.hold()

    def turn(self) -> None:
        """Steps what is in the inbox, up to `BATCH_EVENTS`."""
        if self._turning:
            return
        self._held = False
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        self._turning = True
        now = self._clock()
        self.writes.hold()
        try:
            self._step_batch(now)
        finally:
            self._turning = False
            self.writes.release(now, len(self.core.calls))
        if self._inbox:
            self._scheduled = asyncio.get_running_loop().call_soon(self.turn)

    def _step_batch(self, now: float) -> None:
        inbox = self._inbox
        for _ in range(BATCH_EVENTS):
            if not inbox:
                return
            event = inbox.popleft()
            self.journal.add(now, event)
            try:
                effects = self.core.step(event, now)
            except Exception as error:
                log.exception("a defect: the core could not take %s", type(event).__name__)
                self._rewind(event, now, f"{type(event).__name__}: {error!r}")
                continue
            if effects:
                self._act(effects)

    def _rewind(self, event: AnyEvent, now: float, defect: str) -> None:
        """Goes on as if the event had not come, or breaks."""
        often = len(self._defects) == MAX_DEFECTS and now - self._defects[0] < DEFECTS_S
        self._defects.append(now)
        before = None if often else self._before()
        if before is None:
            self._broken = True
            self._inbox.clear()
            self._broke(f"the scheduler failed by a defect of inrush, and cannot go on from before it ({defect})")
            return
        self.core.become(before)
        log.error("the core goes on from where it stood before, without that event")
        self._passed(event)

    def _before(self) -> Cluster | None:
        try:
            return self.journal.rewound()
        except Exception:
            log.exception("a defect: the journal could not be replayed")
            return None

    def _act(self, effects: list[Effect]) -> None:
        for effect in effects:
            if type(effect) is WakeAt:
                self._wake_no_later(effect.at)
        self._apply(effects)

    def _wake_no_later(self, at: float) -> None:
        if at >= self._wake_at:
            return
        if self._wake is not None:
            self._wake.cancel()
        self._wake_at = at
        self._wake = asyncio.get_running_loop().call_later(max(0.0, at - self._clock()), self._due)

    def _due(self) -> None:
        self._wake, self._wake_at = None, float("inf")
        self.post(Tick())
        self.turn()

    def _tick(self) -> None:
        self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        self.post(Tick())
        self.turn()
        self._ticks += 1
        if self._ticks % CHECK_TICKS == 0 and len(self.core.calls) + len(self.core.containers) < CHECK_LIMIT:
            for sentence in self.core.violations():
                log.error("a defect: the state is unsound: %s", sentence)
            for sentence in self.core.overdue():
                log.error("%s", sentence)
