"""Runs inputs: handles the agent's frames, and ends attempts that are cancelled or out of time.

All methods called `on_…`, and `tick`, run on the pump's thread and never block. An attempt that is cancelled or out of
time is *forced*: user code is interrupted, and the forced status is the answer whatever user code does then. It has
`LET_GO_S` to end. If it does not, the runner answers for it, and the guest exits, so that its slot is really free: what
has not begun is given back, and what runs beside it has `BESIDE_S` to end, or is tried elsewhere. A web request whose
client has left is not held to that, since its handler may rightly finish.
"""

from __future__ import annotations

import functools
import math
import time
from typing import TYPE_CHECKING, Any

from inrush import frames
from inrush.guest import results
from inrush.guest.attempt import Attempt
from inrush.guest.blobs import ArrivedBlobs
from inrush.guest.descriptors import Descriptors
from inrush.guest.generators import Credit
from inrush.guest.inputs import STUCK_S, Bell, Inputs
from inrush.guest.main_thread import MainThread
from inrush.guest.outbox import LATENCY_S, Outbox
from inrush.guest.output import Output
from inrush.guest.protocol import BLOB, CANCELLED, ERROR, TIMEOUT, system_failure
from inrush.guest.pump import Handler
from inrush.guest.results import Payload
from inrush.guest.tasks import Tasks
from inrush.guest.threads import Workers

if TYPE_CHECKING:
    from inrush.guest.load import Loaded
    from inrush.guest.site import Request, Site

LET_GO_S = 2.0
BESIDE_S = 10.0
EXIT_HOOKS_S = 30.0
INSIST_S = 0.05


class Runner:
    """Connects queue, workers and event loop. `loaded` is set when user code is loaded; no input comes before."""

    def __init__(
        self, outbox: Outbox, limit: int, timeout_s: float, output: Output, descriptors: Descriptors, main: MainThread
    ) -> None:
        self.outbox = outbox
        self._output = output
        self._main = main
        self.inputs = Inputs(limit, main if limit == 1 else Bell())
        self.tasks = self.inputs.tasks = Tasks(self.inputs, outbox, self.answer, main)
        self._workers = self.inputs.workers = Workers(self.inputs, outbox, self.answer, self.tasks)
        self.loaded: Loaded
        self.leave_by = math.inf
        self.stuck = ""
        self._clings = ""
        """What an input did that has been answered and does not let go of its slot."""
        self._timeout_s = timeout_s
        self._look_at = 0.0
        self._forced: list[tuple[float, Attempt]] = []
        """Attempts that have been interrupted, each with the time by which it must end."""
        self._mailboxes: dict[tuple[str, int], Attempt] = {}
        self._blobs = ArrivedBlobs(descriptors)
        self._stopping = False
        self._grace_until = math.inf

    def handlers(self) -> dict[str, Handler]:
        """The handlers of frames, by `t`."""
        return {
            "run": self.on_run,
            "cancel": self.on_cancel,
            "recall": self.on_recall,
            "grant": self.on_grant,
            "feed": self.on_feed,
            "blob": self.on_blob,
            "stop": self.on_stop,
        }

    def work(self) -> None:
        """The main thread's part of it, until the guest is to end and no input runs."""
        if self.inputs.limit == 1:
            self._workers.work()
        while not self.inputs.closed:
            self._main.wait()
        while self.inputs.active:
            self._main.rest(0.005)

    # ── frames ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_run(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        call, kind = header["c"], header["k"]
        if self._stopping and kind not in ("gen", "web"):
            self.outbox.say({"t": "back", "c": call, "i": header["i"]}, wait=False)
            return
        target = self.loaded.targets.get(header["m"])
        arrived = [self._blobs.take(payload) if payload[:1] == BLOB else payload for payload in payloads]
        if target is None:
            known = ", ".join(sorted(filter(None, self.loaded.targets))) or "none"
            why = f"{self.loaded.name} has no method {header['m']!r}; it has: {known}"
            self._refuse(call, header["i"], "NotFoundError", why)
            return
        if target.site and kind != "web":
            why = f"{target.name or self.loaded.name} is served over HTTP, and cannot be called; ask its URL"
            self._refuse(call, header["i"], "InvalidError", why)
            return
        attempts = [
            Attempt(call, index, kind, target, payload) for index, payload in zip(header["i"], arrived, strict=True)
        ]
        for attempt in attempts:
            if kind == "gen" or target.site:
                attempt.mailbox = self._request(attempt, target.site) if target.site else Credit()
                self._mailboxes[call, attempt.index] = attempt
        self.inputs.add(attempts)

    def _request(self, attempt: Attempt, site: Site) -> Request:
        payload, attempt.payload = attempt.payload, b""
        item = functools.partial(self.outbox.item, attempt.call, attempt.index)
        return site.request(payload, item, functools.partial(self._took, attempt))

    def _took(self, attempt: Attempt, size: int) -> None:
        """Reports that a web app has taken `size` bytes of its request, so that the server may send more."""
        if not attempt.answered:
            self.outbox.say({"t": "took", "c": attempt.call, "i": [attempt.index], "x": size}, wait=False)

    def on_cancel(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        call, indexes = header["c"], set(header["i"])
        for attempt in self.inputs.drop(call, indexes):
            self._mailboxes.pop((call, attempt.index), None)
            self.outbox.dropped(call, attempt.index, *results.forced(CANCELLED, 0))
        for attempt in self.inputs.active.copy():
            if attempt.call == call and attempt.index in indexes:
                due = math.inf if attempt.target.site else time.monotonic() + LET_GO_S
                self._force(attempt, CANCELLED, due)

    def on_recall(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        self._give_back()

    def _give_back(self) -> None:
        """Gives back the inputs that have not begun, for other containers to run."""
        calls: dict[str, list[int]] = {}
        for attempt in self.inputs.give_back():
            calls.setdefault(attempt.call, []).append(attempt.index)
        for call, indexes in calls.items():
            for at in range(0, len(indexes), frames.MAX_PAYLOADS):
                part = indexes[at : at + frames.MAX_PAYLOADS]
                self.outbox.say({"t": "back", "c": call, "i": part}, wait=False)

    def on_grant(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        attempt = self._mailboxes.get((header["c"], header["i"]))
        if attempt is not None:
            attempt.mailbox.grant(header["x"])

    def on_feed(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        attempt = self._mailboxes.get((header["c"], 0))
        if attempt is not None and attempt.target.site:
            attempt.mailbox.feed(payloads[0], header["last"], header["gone"])

    def on_blob(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        self._blobs.piece(header["id"], payloads[0])

    def on_stop(self, header: dict[str, Any], payloads: list[bytes]) -> None:
        self.stop(float(header["grace"]))

    def stop(self, grace_s: float) -> bool:
        """Stops taking inputs. Running ones have `grace_s` to end, and then exit hooks have `EXIT_HOOKS_S`. Returns
        False when it was stopping already."""
        if self._stopping:
            return False
        self._stopping = True
        self._grace_until = time.monotonic() + grace_s
        self.leave_by = self._grace_until + LET_GO_S + EXIT_HOOKS_S
        self._give_back()
        self.inputs.close()
        self._main.ring()
        return True

    # ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, attempt: Attempt, status: int, payload: Payload, elapsed_s: float) -> None:
        """Reports the end of an attempt, on the thread that ran it. A forced status replaces the attempt's own."""
        if attempt.forced:
            status, payload = results.forced(attempt.forced, self._timeout_s)
        if attempt.mailbox is not None:
            self._mailboxes.pop((attempt.call, attempt.index), None)
        self._output.end(attempt)
        if not attempt.answered:
            attempt.answered = True
            self.outbox.ended(attempt, status, payload, elapsed_s)

    def _force(self, attempt: Attempt, status: int, due: float) -> None:
        if attempt.forced or attempt.answered:
            return
        attempt.forced = status
        self._forced.append((due, attempt))
        self._look_at = 0.0
        if isinstance(attempt.mailbox, Credit):
            attempt.mailbox.end()
        self._interrupt(attempt)

    def _interrupt(self, attempt: Attempt) -> None:
        if attempt.target.is_async or attempt.task is not None:
            self.tasks.interrupt(attempt)
        elif attempt.interrupter is not None:
            attempt.interrupter.interrupt(attempt)

    def _refuse(self, call: str, indexes: list[int], code: str, why: str) -> None:
        failure = system_failure(code, why)
        for index in indexes:
            self.outbox.dropped(call, index, ERROR, failure)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def tick(self) -> float:
        """Does what is due; returns in how many seconds to call it again."""
        now = time.monotonic()
        if self.inputs.needs_tick:
            self.inputs.tick()
        if now >= self._look_at:
            self._look_at = self._expire(now)
        if self._stopping:
            self._hurry(now)
        if self._clings:
            self._leave_if_alone()
        if self.outbox.overdue:
            self.outbox.flush(wait=False)
        return self._next(now)

    def _next(self, now: float) -> float:
        if self.outbox.holding:
            return LATENCY_S
        if self.inputs.needs_tick:
            return STUCK_S
        if self._stopping:
            return 0.1
        return max(0.0, self._look_at - now) if self.inputs.active or self._forced else math.inf

    def _expire(self, now: float) -> float:
        """Forces attempts that are out of time. Returns when to look again; an attempt that starts later is not due
        before that."""
        look_at = now + self._timeout_s
        for attempt in self.inputs.active.copy():
            due = attempt.started + self._timeout_s
            if attempt.forced or attempt.answered:
                continue
            if due <= now:
                self._force(attempt, TIMEOUT, now + LET_GO_S)
            else:
                look_at = min(look_at, due)
        self._forced = [(due, attempt) for due, attempt in self._forced if not attempt.answered]
        for due, attempt in self._forced:
            if due <= now:
                self._abandon(attempt)
            elif not attempt.target.is_async:
                self._interrupt(attempt)
            look_at = now + INSIST_S
        return look_at

    def _abandon(self, attempt: Attempt) -> None:
        """Answers for an attempt that does not let go, and has the guest exit."""
        attempt.answered = True
        name = attempt.target.name or self.loaded.name
        after = f"its timeout of {self._timeout_s:g} s" if attempt.forced == TIMEOUT else "it was cancelled"
        self._clings = f"{name} ran on {LET_GO_S:g} s after {after}"
        if not self._leave_if_alone() and self.stop(BESIDE_S):
            self.outbox.say({"t": "leaving", "why": self._clings, "stuck": False}, wait=False)
        self.outbox.log(attempt.call, "stderr", f"inrush: {self._clings}: the container ends\n")
        self.outbox.dropped(attempt.call, attempt.index, *results.forced(attempt.forced, self._timeout_s))

    def _leave_if_alone(self) -> bool:
        """Has the guest exit if all that runs has been answered, and so clings. Returns whether it does."""
        active = self.inputs.active.copy()
        if active and not self.stuck and all(attempt.answered for attempt in active):
            self.leave_stuck(self._clings)
        return bool(self.stuck)

    def leave_stuck(self, why: str) -> None:
        """Has the guest exit. The agent hears of it before a slot is free, so that nothing more is sent here."""
        self.stuck = why
        self._give_back()
        self.outbox.say({"t": "leaving", "why": why, "stuck": True}, wait=False)

    def _hurry(self, now: float) -> None:
        if now >= self._grace_until:
            for attempt in self.inputs.active.copy():
                self._force(attempt, CANCELLED, math.inf)
            if self.inputs.active and now >= self._grace_until + LET_GO_S:
                self.leave_stuck("an input did not end within the grace of its container")
