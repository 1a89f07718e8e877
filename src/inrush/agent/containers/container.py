"""The containers of this node, each with its life from the order to start it to its end.

    preparing ──▶ loading ──▶ serving ──▶ stopping ──▶ ended
        │            │           │           ▲
        └────────────┴───────────┴───────────┘   a failure, a stop, or the end of its process

A life is one task that nobody cancels: what may be cancelled is the start inside it, which is a task of its own. So
`ContainerEnded` is sent exactly once, and last, however early a container is stopped. Inputs and results do not pass
through the life: they go straight between guest and outbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from inrush import frames, wire
from inrush.agent.containers.deadlines import Attempt, Deadlines
from inrush.agent.containers.guests import Guest
from inrush.agent.containers.headers import MAX_IMPORTS
from inrush.agent.containers.held import Held
from inrush.agent.containers.output import Collected, OutputLimit, PipeReader, read_pipe
from inrush.agent.containers.processes import Begun, End, Stdio, failure, of_exit, of_node
from inrush.errors import Error
from inrush.linux import messages
from inrush.wire import Status

log = logging.getLogger(__name__)

EXIT_HOOKS_S = 30.0
"""How long exit hooks may take after the grace for inputs."""
TERM_GRACE_S = 30.0
"""The grace that a guest gives to what it runs when its own code sends it SIGTERM."""
KILL_SLACK_S = 3.0
"""A guest that has not ended itself so long after it should have is killed."""
DRAIN_S = 2.0
"""How long a container's last words are waited for after its process ended."""

NEXT = {
    "preparing": {"loading", "stopping", "ended"},
    "loading": {"serving", "stopping", "ended"},
    "serving": {"stopping", "ended"},
    "stopping": {"ended"},
    "ended": set[str](),
}

Put = Callable[[wire.FromNode], None]
Start = Callable[[wire.StartContainer, Stdio, Callable[[str, str], None]], Awaitable[Begun]]
"""Starts a process whose guest waits for its `load`. Raises `Error` with a sentence for people."""

Doing = tuple[str, str]
"""A function, and what some of its containers do: `starting` or `serving`."""


class Container:
    """One container. It is the listener of its guest (`guests.Listener`)."""

    def __init__(
        self,
        order: wire.StartContainer,
        put: Put,
        guest: Callable[[Container], Guest],
        unable: Callable[[], None] = lambda: None,
        heed: Callable[[Doing], None] = lambda doing: None,
    ) -> None:
        self.order, self._unable = order, unable
        self.state = "preparing"
        self.deadlines = Deadlines(order.spec.timeout_s, order.spec.scale.max_inputs)
        self.held = Held(self.deadlines)
        self.guest = guest(self)
        self._put = put
        self._heed = heed
        self._idle_yet = True
        self._output = OutputLimit(put, order.container)
        self._raw = Collected()
        self._pipes: list[PipeReader] = []
        self._socket: socket.socket | None = None
        self._begun: Begun | None = None
        self._end: End | None = None
        self._starting: asyncio.Task[Begun] | None = None
        self._imports_left = MAX_IMPORTS
        self._ready: asyncio.Future[tuple[Sequence[tuple[str, float]], str]] = (
            asyncio.get_running_loop().create_future()
        )
        self._disconnected = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self.life: asyncio.Task[None] | None = None

    # ── its life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def live(self, start: Start) -> None:
        """Follows the container from here to `ContainerEnded`."""
        exited_end = End(Status.LOST, "its agent has ended")
        try:
            exited_end = await self._run(start)
        except Exception:
            self.defect("the life of a container")
            assert self._end is not None
            exited_end = self._end
            if self._begun is not None:
                await self._begun.process.wait()
        finally:
            self._close(exited_end)

    def _close(self, end: End) -> None:
        """Lets go of all that the container had, and reports its end."""
        try:
            for timer in self._timers:
                timer.cancel()
            self.guest.close()
            for pipe in self._pipes:
                pipe.close()
            self._output.tell_dropped()
            if end.status != Status.OK:
                log.info("container %s ended: %s", self.order.container, end.status.name)  # why is for its app's log
                self._tell(end)
        finally:
            self._turn("ended")
            self._put(wire.ContainerEnded(self.order.container, int(end.status), end.why, end.payload))

    async def _run(self, start: Start) -> End:
        if self._end is not None:
            return self._end
        began = time.monotonic()
        self._starting = asyncio.create_task(self._begin(start))
        try:
            self._begun = await self._starting
        except (Error, OSError) as error:
            return self._end or self._not_started(error)
        except asyncio.CancelledError:
            return self._end or End(Status.OK, "stopped before it began")
        ended = asyncio.ensure_future(self._begun.process.wait())
        if self._end is None:
            self._turn("loading")
            self._heed((self.order.function, "starting"))
            assert self._socket is not None
            self.guest.load(self._begun.load, self._begun.payloads, self._socket)
            await self._become_ready(ended, began, time.monotonic())
        else:
            self._begun.process.kill()
        exited = await ended
        await self._last_words()
        end = self._end or of_exit(exited, self.order.spec, self._ready.done(), self._raw.said())
        stillborn = end.status == Status.STARTUP and not self._ready.done()
        return replace(end, status=Status.LOST) if stillborn and self._begun.born(end.why) else end

    def _not_started(self, error: Error | OSError) -> End:
        """What it means that nothing was started: user code that cannot start fails its inputs, and a node that cannot
        now has them wait."""
        name = self.order.spec.name
        if not of_node(error):
            return failure(Status.STARTUP, f"a container of {name} could not start: {error}")
        self._unable()
        return failure(Status.LOST, f"a container of {name} could not start on its node now: {error}")

    async def _begin(self, start: Start) -> Begun:
        """Starts the process, with its socket and pipes on the agent's side."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        messages.refuse_descriptors(ours)  # the event loop only reads, and so would close what came along
        self._socket = ours
        written: list[int] = []
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: self.guest, sock=ours)
            for stream in ("stdout", "stderr"):
                read, write = os.pipe()
                written.append(write)
                self._pipes.append(await read_pipe(read, functools.partial(self._wrote, stream)))
            return await start(self.order, Stdio(theirs.fileno(), *written), self._template_wrote)
        finally:
            theirs.close()
            messages.close_all(written)

    async def _become_ready(self, ended: asyncio.Future[Any], began: float, begun: float) -> None:
        limit_s = self.order.spec.startup_timeout_s
        waits = {self._ready, ended}  # the guest minds the limit itself, and then says more than we can
        await asyncio.wait(waits, timeout=limit_s + KILL_SLACK_S, return_when=asyncio.FIRST_COMPLETED)
        if self._end is not None or ended.done():
            return
        assert self._begun is not None
        if not self._ready.done():
            self.end(
                failure(
                    Status.STARTUP, f"{self.order.spec.name} was not ready within its startup_timeout of {limit_s:g} s"
                )
            )
            return
        self._turn("serving")
        self._begun.born("")
        phases, why = self._ready.result()
        total_ms = (time.monotonic() - began) * 1000
        prepare_ms = (begun - began) * 1000 - sum(ms for _, ms in self._begun.phases_ms)
        told = (("prepare", round(max(0.0, prepare_ms), 3)), *self._begun.phases_ms, *phases)
        reasons = "; ".join(filter(None, (self._begun.why, why)))
        self._put(wire.ContainerReady(self.order.container, self._begun.how, total_ms, told, reasons))

    async def _last_words(self) -> None:
        """Takes what the guest sent and printed before it ended."""
        waits = [self._disconnected.wait(), *(pipe.closed for pipe in self._pipes)]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*waits), DRAIN_S)

    # ── its end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def stop(self, grace_s: float, kill: bool, why: str) -> None:
        """Stops the container: inputs may end within the grace, exit hooks have their time, and then it is killed."""
        if kill or self.state in ("preparing", "loading"):
            self.end(End(Status.OK, why))
        elif self.state == "serving":
            self._leave(End(Status.OK, why), grace_s + EXIT_HOOKS_S + KILL_SLACK_S)
            self.guest.send({"t": "stop", "grace": grace_s})

    def _leave(self, end: End, within_s: float) -> None:
        """Leaves it to the guest to end within this time."""
        self._end = end
        self._turn("stopping")
        self._timers.append(asyncio.get_running_loop().call_later(within_s, self._kill))

    def end(self, end: End) -> None:
        """Kills the container for this reason. Only the first reason counts."""
        self._end = self._end or end
        if self.state not in ("stopping", "ended"):
            self._turn("stopping")
        self._kill()

    def _tell(self, end: End) -> None:
        """Writes the end into the app's log, for people who do not wait for a result."""
        text = f"{end.traceback.rstrip()}\n{end.why}\n".lstrip("\n")
        self._put(wire.ContainerLog(self.order.container, "", "end", time.time(), text))

    def _kill(self) -> None:
        if self._begun is not None:
            self._begun.process.kill()
        elif self._starting is not None and not self._starting.cancelling():  # once: it ends what it began
            self._starting.cancel()

    def _turn(self, state: str) -> None:
        assert state in NEXT[self.state], f"container {self.order.container}: {self.state} → {state}"
        self.state = state

    def env(self) -> dict[str, str]:
        """The container's environment, once it has begun."""
        return dict(self._begun.load["env"]) if self._begun is not None else {}

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self, run: wire.Run) -> None:
        if self.state == "stopping" and run.kind != "web":  # it crossed what the guest said of leaving
            self._put(wire.Returned(self.order.container, run.call, run.indexes))
            return
        self.held.gave(run.call, run.kind, run.indexes, time.monotonic())
        self.guest.run(run)
        if self._idle_yet:
            self._idle_yet = False
            self._heed((self.order.function, "serving"))

    def cancel(self, order: wire.CancelRun) -> None:
        held = tuple([index for index in order.indexes if not self.held.is_web(order.call, index)])
        self.deadlines.cancel(order.call, held, time.monotonic())
        self.guest.cancel(order.call, order.indexes)

    def grant(self, order: wire.GrantRun) -> None:
        self.held.granted(order.call, order.index, order.credit)
        self.guest.about(order.call, {"t": "grant", "c": order.call, "i": order.index, "x": order.credit})

    def check_deadlines(self, now: float) -> None:
        """Answers inputs that the guest should have answered by now, and kills the guest, since it is stuck."""
        self.guest.check_time(now)
        if late := self.deadlines.expired(now):
            why = f"ran longer than its timeout of {self.order.spec.timeout_s:g} s"
            self._give_up(late, Status.TIMEOUT, "FunctionTimeoutError", why)
        elif late := self.deadlines.clinging(now):
            self._give_up(late, Status.CANCELLED, "CancelledError", "ran on after it was cancelled")

    def _give_up(self, late: list[Attempt], status: Status, code: str, why: str) -> None:
        why = f"{self.order.spec.name} {why} and could not be interrupted"
        payload = wire.system_failure(code, why)
        self._put(wire.ContainerLeaving(self.order.container, why))
        for call, index in late:
            self.settled(call, (index,), (int(status),), (payload,))
        self.end(failure(Status.LOST, f"the container was killed: {why}"))

    # ── what its guest says ──────────────────────────────────────────────────────────────────────────────────────────

    def ready(self, phases: Sequence[tuple[str, float]], why: str) -> None:
        if self._ready.done():
            raise frames.FrameError("it reported twice that it is ready")
        self._ready.set_result((phases, why))

    def failed(self, message: str, payload: bytes, traceback: str) -> None:
        if self._ready.done():
            raise frames.FrameError("it reported a failed start after it was ready")
        if self._end is None:
            self._end = End(Status.STARTUP, message, payload, traceback)

    def leaving(self, why: str, stuck: bool) -> None:
        """Its guest ends by itself: after what runs has ended, or at once, since an input holds its slot for ever."""
        if self.state != "serving":
            return
        self._put(wire.ContainerLeaving(self.order.container, why))
        if stuck:
            why = f"the container of {self.order.spec.name} ended: {why}"
            self._leave(failure(Status.LOST, why), KILL_SLACK_S)
        else:
            self._leave(End(Status.OK, why), TERM_GRACE_S + EXIT_HOOKS_S + KILL_SLACK_S)

    def imported(self, imports: Sequence[tuple[str, float]]) -> None:
        self._imports_left -= len(imports)
        if self._imports_left < 0:
            raise frames.FrameError(f"it reported more than {MAX_IMPORTS} imports")
        if self._begun is not None:
            self._begun.imported(list(imports))

    def check(self, call: str, indexes: tuple[int, ...]) -> None:
        self.held.check(call, indexes)

    def answered(
        self,
        call: str,
        indexes: tuple[int, ...],
        statuses: tuple[int, ...],
        payloads: tuple[bytes, ...],
        spent_s: float = -1.0,
    ) -> None:
        if past := self.held.ended(call, indexes, time.monotonic()):
            kept = [n for n in range(len(indexes)) if n not in past]
            indexes, statuses = tuple([indexes[n] for n in kept]), tuple([statuses[n] for n in kept])
            payloads, spent_s = tuple([payloads[n] for n in kept]), -1.0
            if not indexes:
                return
        self._output.tell_dropped()
        self._put(wire.Ran(self.order.container, call, indexes, statuses, payloads, spent_s))

    def settled(
        self, call: str, indexes: tuple[int, ...], statuses: tuple[int, ...], payloads: tuple[bytes, ...]
    ) -> None:
        self.held.settle(call, indexes, time.monotonic())
        self._put(wire.Ran(self.order.container, call, indexes, statuses, payloads))

    def returned(self, call: str, indexes: tuple[int, ...]) -> None:
        past = self.held.ended(call, indexes, time.monotonic())
        indexes = tuple([index for n, index in enumerate(indexes) if n not in past]) if past else indexes
        if indexes:
            self._put(wire.Returned(self.order.container, call, indexes))

    def yielded(self, call: str, index: int, first: int, payloads: tuple[bytes, ...]) -> None:
        if self.held.yields(call, index, first, len(payloads)):
            self._put(wire.Yielded(self.order.container, call, index, first, payloads))

    def taken(self, call: str, index: int, size: int) -> None:
        if self.held.holds(call, index):
            self._put(wire.Took(self.order.container, call, size))

    def printed(self, call: str, stream: str, text: str) -> None:
        self._output.emit(self.held.tag(call) if call else "", stream, text)

    def _template_wrote(self, stream: str, text: str) -> None:
        """Takes what the template printed while this container waited for it."""
        if self.state == "preparing":
            self._output.emit("", stream, text)

    def _wrote(self, stream: str, text: str) -> None:
        """Takes what was written to the container's descriptors, past Python's streams."""
        self._raw.add(stream, text)
        self._output.emit("", stream, text)

    def linked(self, frame: bytes) -> None:
        if self.order.spec.restrict_access:
            self.broken("it made calls although its function restricts access")
        else:
            self._put(wire.FromGuestLink(self.order.container, frame))

    def broken(self, why: str) -> None:
        self.end(failure(Status.CRASHED, f"the container of {self.order.spec.name} was killed: {why}"))

    def defect(self, what: str) -> None:
        """Ends the container because an exception of inrush is being handled, with a sentence that says so."""
        id = f"df-{os.urandom(16).hex()}"
        log.exception("defect %s: %s of container %s could not be handled", id, what, self.order.container)
        why = f"the agent failed by a defect of its own, not of the function's; the server's log tells of it as {id}"
        self.end(failure(Status.INTERNAL, f"the container of {self.order.spec.name} was killed: {why}"))

    def disconnected(self) -> None:
        """Handles a closed socket: the guest ends by itself now, or is killed."""
        self._disconnected.set()
        if self.state in ("loading", "serving"):
            loop = asyncio.get_running_loop()
            self._timers.append(loop.call_later(KILL_SLACK_S, self.broken, "it closed its connection to the agent"))
