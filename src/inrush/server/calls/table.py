"""Who waits for which call, and the payloads of inputs that have no result yet.

The core knows inputs by number; this table knows their bytes and their owner. Results go straight to the owner. What a
client sends again is known by (call, index) and not run twice.

Calls of kind `spawn` are durable: `durable.py` saves them, their results, and serves who asks for those.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from inrush import wire
from inrush.core.model import effects, events
from inrush.errors import Error, InvalidError, PermissionDeniedError, ResourceExhaustedError
from inrush.server.apps.functions import Function, Functions
from inrush.server.calls.call import WINDOW_INPUTS, Begun, Call, Owner, filled, may_go_on, split_results, unknown_ranges
from inrush.server.payloads.blobs import Blobs, referred_ids
from inrush.server.shares import Shares
from inrush.server.trust.principal import Principal
from inrush.wire import CallRefused, FunctionSpec

log = logging.getLogger(__name__)

FINISHED_CALLS = 4096
"""So many finished calls of clients are remembered, in case the client missed a result."""
FINISHED_BYTES = 64 * 1024 * 1024
"""The most bytes of results of finished calls."""
HELD_BYTES = 2 * 1024 * 1024 * 1024
"""Bytes of payloads in memory, of all calls. More are refused."""
HELD_MOST_BYTES = 2 * HELD_BYTES
"""With so much held, calls that are under way get no further inputs either."""
HELD_FOR_CONTAINERS_BYTES = 1024 * 1024 * 1024
"""The same of calls that containers made; those of one app may hold half."""
MAX_CALLS_OF_CONTAINERS = 200_000
"""Calls under way that containers made; those of one app may be half."""
HELD_FOR_TOKENS_BYTES = 2 * 1024 * 1024 * 1024
"""The same of calls that were made with tokens for one environment; those of an environment may hold half."""
MAX_CALLS_OF_TOKENS = 2_000_000
"""Calls under way that were made with such tokens; those of one environment may be half."""
MAX_GAP_INPUTS = 16 * 1024 * 1024
"""Inputs that a resent map may skip, because the client has their results."""


class Calls:
    """All calls that are not over, and client-owned ones that ended lately. It takes messages of owners and effects of
    the core."""

    def __init__(
        self,
        post: Callable[[Any], None],
        functions: Functions,
        blobs: Blobs,
        to_container: Callable[[str, Any], None],
        *,
        max_queued_inputs: int,
        can_ever: Callable[[FunctionSpec], str] = lambda spec: "",
    ) -> None:
        self.post = post
        self.functions = functions
        self.blobs = blobs
        self.max_queued = max_queued_inputs
        self._to_container = to_container
        self._can_ever = can_ever
        self._calls: dict[str, Call] = {}
        self._finished: dict[str, int] = {}
        self._held = self._finished_held = 0
        self._held_for = Shares(HELD_FOR_CONTAINERS_BYTES, "bytes of arguments and results")
        self._made_by = Shares(MAX_CALLS_OF_CONTAINERS, "calls under way")
        whose = "tokens for this environment"
        self._held_for_tokens = Shares(HELD_FOR_TOKENS_BYTES, "bytes of arguments and results", whose)
        self._made_by_tokens = Shares(MAX_CALLS_OF_TOKENS, "calls under way", whose)
        self.resolve_durable: Callable[[Call, effects.Resolve, tuple[bytes, ...]], None] = (
            lambda call, effect, payloads: None
        )

    def __len__(self) -> int:
        return len(self._calls) - len(self._finished)

    def count(self, who: Principal) -> int:
        """Calls that are not over, of functions that somebody reaches."""
        if not who.environment:
            return len(self)
        mine = [call for call in self._calls.values() if who.reaches(call.function.environment)]
        return sum(call.id not in self._finished for call in mine)

    def get(self, id: str) -> Call | None:
        return self._calls.get(id)

    # ── from owners ──────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, owner: Owner, message: wire.StartCall) -> Call | None:
        """Begins a call, or goes on with one that is sent again. None when it was refused; its owner was told."""
        call = self._calls.get(message.call)
        fresh = call is None
        if call is None:
            try:
                call = self._begin(owner, message)
            except Error as error:
                owner.send(CallRefused(message.call, type(error).__name__, str(error)))
                return None
        elif not may_go_on(call, owner):
            why = f"call {message.call} belongs to somebody else"
            owner.send(CallRefused(message.call, PermissionDeniedError.__name__, why))
            return None
        if call.kind == "map":
            owner.send(wire.Accepted(call.id, WINDOW_INPUTS))
        if message.payloads and not (fresh and call.waiting):
            self._add(owner, call, message.first, message.payloads)
        return call

    def _begin(self, owner: Owner, message: wire.StartCall) -> Call:
        function = self.functions.need(message.function, owner.principal)
        if function.impossible:
            self._check_possible(function)
        self._check_bytes(HELD_BYTES)
        self._check_queue(function, len(message.payloads))
        call = Call(message, function, None if message.kind == "spawn" else owner, owner.payer)
        call.caller, call.lossless = owner.principal.app, bool(owner.container)
        if call.payer:
            held, made = self._shares(call)
            held.check(call.payer)
            made.take(call.payer, 1)
        self._calls[call.id] = call
        if not call.durable:
            owner.calls.add(call.id)
        caller = "" if call.durable else owner.container
        first, count = message.first, len(message.payloads)
        if first < 0 or (count > 2 * WINDOW_INPUTS and not call.durable):
            first = count = 0  # `start` refuses it
        if count:
            self._take_in(call, first, message.payloads)
        self.post(events.CallArrived(call.id, function.id, call.kind, call.total, call.durable, caller, first, count))
        return call

    def _check_possible(self, function: Function) -> None:
        """Raises `InvalidError` while no node, nor any that a pool may bring, could run the function."""
        function.impossible = self._can_ever(function.spec)
        if function.impossible:
            raise InvalidError(f"{function.title} cannot run here: {function.impossible}")

    def inputs(self, owner: Owner, id: str, first: int, payloads: Sequence[bytes]) -> Call | None:
        """Takes further inputs of a call. Returns the call if any of them was new."""
        call = self._calls.get(id)
        if call is None or not may_go_on(call, owner):
            owner.send(wire.Resend(id, unknown=True))
            return None
        return self._add(owner, call, first, payloads)

    def _add(self, owner: Owner, call: Call, first: int, payloads: Sequence[bytes]) -> Call | None:
        over = len(call.waiting) + len(payloads) > 2 * WINDOW_INPUTS and not call.durable
        gap = 0 if call.lossless else MAX_GAP_INPUTS  # who loses nothing has nothing to resend
        far = bool(call.seen) and first - call.base > len(call.seen) + gap
        try:
            self._check_held(call)
            if call.durable:
                self._check_queue(call.function, first + len(payloads) - call.base - len(call.seen))
        except ResourceExhaustedError as error:
            self._refuse(call, owner, str(error))
            return None
        if over or far or first < 0:
            why = f"more than {2 * WINDOW_INPUTS} inputs without a result in call {call.id}; keep to the window"
            self._refuse(call, owner, why)
            return None
        if not self._take_in(call, first, payloads):
            return None
        self.post(events.InputsArrived(call.id, first, len(payloads)))
        return call

    def _take_in(self, call: Call, first: int, payloads: Sequence[bytes]) -> bool:
        waiting, held = len(call.waiting), call.held
        if not call.add(first, payloads):
            return False
        call.function.queued += len(call.waiting) - waiting
        self._hold(call, call.held - held)
        self._hold_blobs(call, payloads)
        return True

    def _hold(self, call: Call, more: int) -> None:
        """Counts bytes that are held for a call."""
        self._held += more
        if call.payer:
            self._shares(call)[0].add(call.payer, more)

    def _check_queue(self, function: Function, more: int) -> None:
        """Raises `ResourceExhaustedError` where so many inputs more are too many for a function."""
        if more > 0 and function.queued + more > self.max_queued:
            raise ResourceExhaustedError(
                f"{function.queued} inputs wait for {function.title!r} already, of at most {self.max_queued} "
                "(setting max_queued_inputs); try again later"
            )

    def _check_bytes(self, most: int) -> None:
        if self._held > most:
            raise ResourceExhaustedError(f"the server holds {self._held >> 20} MiB of arguments; try again later")

    def _check_held(self, call: Call) -> None:
        """Raises `ResourceExhaustedError` where a call gets no further inputs."""
        self._check_bytes(HELD_MOST_BYTES)
        if call.payer:
            self._shares(call)[0].check(call.payer)

    def _shares(self, call: Call) -> tuple[Shares, Shares]:
        """Of whom a call's bytes are held for, and of whom it counts as made by."""
        if call.lossless:
            return self._held_for, self._made_by
        return self._held_for_tokens, self._made_by_tokens

    def give_up(self, id: str) -> None:
        """Refuses a call that the core could not take. A durable call stays in its rows, for the next server."""
        call = self._calls.get(id)
        if call is not None and not call.durable:
            why = "the scheduler could not take this call, by a defect of inrush; see server.log"
            self._refuse(call, call.owner, why, "InternalError")

    def _refuse(self, call: Call, owner: Owner | None, why: str, code: str = "ResourceExhaustedError") -> None:
        self.forget(call)
        if owner is not None:
            owner.send(CallRefused(call.id, code, why))

    def end_inputs(self, owner: Owner, message: wire.EndInputs) -> None:
        """Notes the total number of a map's inputs."""
        call = self._calls.get(message.call)
        if call is None or call.total >= 0 or not may_go_on(call, owner):
            return
        call.total = message.total
        if call.resumed:
            call.settled = message.total - len(call.waiting)
        self.post(events.CallEnded(message.call, message.total))
        if call.finished and not call.durable:
            self._finish(call)

    def resume(self, owner: Owner, message: wire.ResumeCall) -> None:
        """Gives a client that is back what it missed, and tells it what to send again."""
        call = self._calls.get(message.call)
        if call is None or call.durable or call.owner is not owner:
            owner.send(wire.Resend(message.call, unknown=True))
            return
        for items in call.items:
            owner.send(items)
        have = message.have
        missed = sum(b - a for a, b in have) < call.settled or not have
        for results in call.kept if missed else ():
            owner.send(results)
        ranges = tuple(unknown_ranges(call, have))
        if ranges:
            owner.send(wire.Resend(call.id, ranges=ranges))

    def received(self, owner: Owner, message: wire.Received) -> None:
        """Keeps results no longer that their owner has received."""
        call = self._calls.get(message.call)
        if call is None or call.owner is not owner:
            return
        before = call.held
        call.received(message.index)
        self._hold(call, call.held - before)
        if call.id in self._finished:
            self._finished[call.id] += call.held - before
            self._finished_held += call.held - before

    def cancel(self, owner: Owner, message: wire.CancelCall) -> None:
        """Cancels what is not over; each such input ends as cancelled."""
        call = self._calls.get(message.call)
        if call is not None and not call.finished and may_go_on(call, owner):
            self.post(events.CallCancelled(call.id, "the caller cancelled it", message.terminate))

    def forget(self, call: Call) -> None:
        """Forgets a call that nobody waits for."""
        if not call.finished or call.resumed:
            self.post(events.CallForgotten(call.id))
        self.drop(call)

    def left(self, owner: Owner) -> None:
        """Forgets all calls of an owner that is gone for good."""
        for id in sorted(owner.calls):
            call = self._calls.get(id)
            if call is not None:
                self.forget(call)
        owner.calls.clear()

    def grant(self, owner: Owner, message: wire.Grant) -> None:
        """Lets a generator yield more items."""
        call = self._calls.get(message.call)
        if call is None or call.owner is not owner:
            return
        credit = call.grant(message.credit)
        if call.container and credit > 0:
            self._to_container(call.container, wire.GrantRun(call.container, call.id, 0, credit))

    def feed(self, call: Call, data: bytes, last: bool = False, gone: bool = False) -> None:
        """Passes on a further piece of a web request's body."""
        if call.container:
            self._to_container(call.container, wire.Feed(call.container, call.id, data, last, gone))

    # ── from the core and the nodes ──────────────────────────────────────────────────────────────────────────────────

    def dispatch(self, effect: effects.Dispatch) -> None:
        """Carries out `Dispatch`: sends inputs to their container."""
        call = self._calls.get(effect.call)
        if call is None:
            return
        if call.kind == "web" and call.container and call.owner is not None:
            call.owner.send(CallRefused(call.id, "ExecutionError", "the container died while it served this request"))
            self.forget(call)
            return
        call.container = effect.container
        waiting = call.waiting
        payloads = tuple([waiting[i] for i in effect.indexes])
        run = wire.Run(effect.container, call.id, call.method, call.kind, effect.indexes, payloads)
        self._to_container(effect.container, run)
        if call.credit > 0:
            self._to_container(effect.container, wire.GrantRun(effect.container, call.id, 0, call.credit))
        if call.kind == "web" and call.owner is not None:
            call.owner.send(Begun(call.id))

    def resolve(self, effect: effects.Resolve) -> None:
        """Carries out `Resolve`: gives final results to the owner."""
        call = self._calls.get(effect.call)
        if call is None:
            return
        payloads = effect.refs if None not in effect.refs else filled(effect)
        held = call.held
        call.settle(effect.indexes)
        call.function.queued -= len(effect.indexes)
        if call.durable:
            self._hold_blobs(call, payloads)
            self.resolve_durable(call, effect, payloads)
        else:
            self._answer(call, effect, payloads)
        self._hold(call, call.held - held)
        if call.finished and not call.durable:
            self._finish(call)

    def _answer(self, call: Call, effect: effects.Resolve, payloads: tuple[bytes, ...]) -> None:
        owner = call.owner
        self._hold_blobs(call, payloads)
        for message in split_results(call.id, effect.indexes, effect.statuses, payloads):
            call.keep(message)
            if owner is not None:
                owner.send(message)

    def yielded(self, message: wire.Yielded) -> None:
        """Items of a generator, or pieces of a web response; from the container that runs it now."""
        call = self._calls.get(message.call)
        if call is None or call.finished:
            return
        if call.owner is not None and call.container == message.container:
            self._hold_blobs(call, message.payloads)
            items = wire.Items(call.id, message.first, message.payloads)
            if call.kind == "gen":
                call.yielded(items)
            call.owner.send(items)

    def took(self, message: wire.Took) -> None:
        """A web app has taken more of its request; from the container that serves it."""
        call = self._calls.get(message.call)
        if call is not None and call.owner is not None and call.kind == "web" and call.container == message.container:
            call.owner.send(message)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _finish(self, call: Call) -> None:
        if call.resumed:
            self.post(events.CallForgotten(call.id))
        if call.lossless and not call.blobs:
            self.drop(call)  # its container lost no result
            return
        self._finished[call.id] = call.held
        self._finished_held += call.held
        while len(self._finished) > FINISHED_CALLS or self._finished_held > FINISHED_BYTES:
            self.drop(self._calls[next(iter(self._finished))])

    def restore(self, call: Call) -> None:
        """Takes in a durable call that was saved before a restart."""
        self._calls[call.id] = call
        call.function.queued += len(call.waiting)
        self._held += call.held

    def drop(self, call: Call) -> None:
        """Drops a call that is over, and saved if it is durable."""
        if self._calls.pop(call.id, None) is None:
            return
        self._finished_held -= self._finished.pop(call.id, 0)
        if call.owner is not None:
            call.owner.calls.discard(call.id)
        call.function.queued -= len(call.waiting)
        self._hold(call, -call.held)
        if call.payer:
            self._shares(call)[1].give(call.payer, 1)
        if call.blobs and not call.durable:
            self.blobs.release(call.blobs)

    def _hold_blobs(self, call: Call, payloads: Iterable[bytes]) -> None:
        ids = referred_ids(payloads)
        if ids:
            call.blobs.extend(ids)
            self.blobs.hold(ids, durable=call.durable)
