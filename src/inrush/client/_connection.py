"""The link to the server: one connection, one thread that reads, and all that waits for an answer.

Sending happens in the caller's thread: it puts its message into the outbox and, if nobody is sending, sends all that is
there; if somebody is, that thread takes it along. Receiving happens in the link's own thread, which sets the `Waiter`
or fills the `Mailbox` of whoever waits. A broken connection is made again under the same client id as long as somebody
waits: asks are asked again and calls resumed (`_inflight`). In a container the guest brings the frames, and there is no
thread of ours.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from inrush import settings, wire
from inrush.client._asks import Ask
from inrush.client._dual import Waiter
from inrush.client._inflight import InFlight
from inrush.client._output import tell_of_link, tell_of_retry
from inrush.errors import AuthError, ConnectionError, Error, InvalidError, VersionError, from_code
from inrush.version import __version__, minor, remedy

_BATCH = 12
"""Messages in one frame. Each is at most about `CHUNK_BYTES`, and a frame has a limit."""

_ASKS = 512
"""Requests in flight. The server refuses those of a client that has too many."""

_RECONNECT_S = 60.0
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.02, 0.5
_PATIENCE_S = 3.0
"""After a crash, whoever supervises the server has this long to start it again before the SDK does. One that the SDK
started is supervised by nobody."""

if TYPE_CHECKING:
    from inrush.client._shared import Shared
    from inrush.client._transport import Transport

Callback = Callable[[Any], None]
Connect = Callable[[bool], "tuple[Transport, str]"]
"""Opens a connection, and tells the token for it; told whether it may start a server where none answers."""


class _EndingError(ConnectionError):
    """The server is ending, and takes nobody any more."""


class Link:
    """The link of one process to its server. `holders`, such as running apps, keep it alive while nothing is asked."""

    def __init__(self, connect: Connect | None, client: str) -> None:
        self.client = client
        self.ready: Waiter[None] = Waiter()
        self.alive = True
        self.python = ""
        """The minor version of the server's Python; empty in a container."""
        self.calls: dict[str, InFlight] = {}
        self.holders: set[object] = set()
        self.shared: Shared | None = None
        """What passes large payloads by descriptor, where the server is on this machine."""
        self._connect = connect
        self._patience_s = _PATIENCE_S
        self._transport: Transport | None = None
        self._online = False
        self._asks: dict[int, Ask] = {}
        self._turns: deque[Waiter[None]] = deque()
        """Those who wait to ask, in order."""
        self._rids = itertools.count(1)
        self._outbox: deque[Any] = deque()
        self._sending = threading.Lock()
        self._state = threading.Lock()
        self._handlers: dict[type, Callback] = {
            wire.Results: self._on_results,
            wire.Items: lambda m: self._of(m, lambda call: call.items(m.first, m.payloads)),
            wire.Accepted: lambda m: self._of(m, lambda call: call.accepted(m.window)),
            wire.CallRefused: lambda m: self._of(m, lambda call: call.fail(from_code(m.code, m.message))),
            wire.Resend: lambda m: self._of(m, lambda call: self.post(*call.resend(m.unknown, m.ranges))),
            wire.Answer: self._on_answer,
            wire.Refused: self._on_refused,
            wire.Progress: self._on_tagged,
            wire.Log: self._on_tagged,
            wire.State: self._on_tagged,
            wire.Retried: tell_of_retry,
        }

    # -- for callers --

    async def ask(self, body: wire.Request, progress: Callback | None = None, timeout_s: float | None = None) -> Any:
        """The answer to a request; raises the error that the server refuses it with. `progress` is called with what
        it tells before."""
        while len(self._asks) >= _ASKS:
            await self._turn()
        rid, ask = self._register(body, progress)
        ask.answer.timeout_s = timeout_s
        try:
            return await ask.answer
        finally:
            self._asks.pop(rid, None)
            self._next()

    def follow(self, body: wire.Request, callback: Callback) -> int:
        """Has `callback` called, in the link's thread, with what the server tells; until `unfollow` of the number it
        returns."""
        return self._register(body, callback)[0]

    def unfollow(self, rid: int) -> None:
        if self._asks.pop(rid, None) is not None:
            self.post(wire.Unfollow(rid))

    def open(self, call: InFlight) -> None:
        """Begins a call."""
        with self._state:
            self._check_alive()
            self.calls[call.call] = call
            self._outbox.extend(call.start())
        self._flush()

    def close(self, call: InFlight, at_once: bool = False) -> None:
        """Forgets a call. The server hears of it with the next message, or `at_once` where something may still run."""
        self.calls.pop(call.call, None)
        if self.shared is not None:
            self.shared.release(call.payloads())
        if not at_once and not call.holds:
            return
        self._outbox.append(wire.ForgetCall(call.call))
        if at_once:
            self._flush()

    def post(self, *messages: Any) -> None:
        """Sends messages soon, in this order."""
        self._outbox.extend(messages)
        self._flush()

    def shut(self) -> None:
        """Closes the connection for good."""
        with self._state:
            self.alive = False
        if self._transport is not None:
            self._transport.close()

    def drop(self) -> None:
        """Drops the connection in a forked child, because it is the parent's."""
        self.alive = False
        transport, self._transport, self._online = self._transport, None, False
        if self.shared is not None:
            self.shared.drop()
        if transport is not None:
            transport.drop()

    # -- sending --

    async def _turn(self) -> None:
        turn: Waiter[None] = Waiter()
        self._turns.append(turn)
        try:
            await turn
        except BaseException:
            if turn in self._turns:
                self._turns.remove(turn)
            else:
                self._next()  # it came, and is another's now
            raise

    def _next(self) -> None:
        if self._turns:
            self._turns.popleft().set(None)

    def _register(self, body: wire.Request, callback: Callback | None) -> tuple[int, Ask]:
        ask = Ask(body, callback)
        rid = next(self._rids)
        with self._state:
            self._check_alive()
            self._asks[rid] = ask
            self._outbox.append(wire.Ask(rid, body))
        self._flush()
        return rid, ask

    def _check_alive(self) -> None:
        if not self.alive:
            raise ConnectionError("the connection to the inrush server is closed; call again to open a new one")

    def _flush(self) -> None:
        while self._outbox and self._online:
            if not self._sending.acquire(blocking=False):
                return  # whoever is sending takes ours along: it looks again after it has let the lock go
            try:
                self._send_batch()
            finally:
                self._sending.release()

    def _send_batch(self) -> None:
        outbox, transport = self._outbox, self._transport
        if not outbox or not self._online or transport is None:
            return
        batch = [outbox.popleft() for _ in range(min(_BATCH, len(outbox)))]
        try:
            transport.send(self._encoded(batch))
        except OSError:
            self._online = False  # the reader meets the end of the connection, and resumes what was in flight

    def _encoded(self, batch: list[Any]) -> bytes:
        """The frame of a batch. A message that holds what cannot be sent (half a character, a number of 65 bits) fails
        its own ask or call, and none of the others."""
        try:
            return wire.encode(batch)
        except (ValueError, OverflowError, TypeError):
            return wire.encode([message for message in batch if self._can_go(message)])

    def _can_go(self, message: Any) -> bool:
        try:
            wire.encode([message])
        except (ValueError, OverflowError, TypeError) as error:
            wrong = InvalidError(f"what was given cannot be sent: {error}")
            ask = self._asks.get(message.rid) if isinstance(message, wire.Ask) else None
            if ask is not None:
                ask.answer.fail(wrong)
            elif (call := self.calls.get(getattr(message, "call", ""))) is not None:
                call.fail(wrong)
            return False
        return True

    # -- the link's thread --

    def start(self) -> None:
        threading.Thread(target=self._run, name="inrush-link", daemon=True).start()

    def attach(self, transport: Transport) -> None:
        """The transport of a container: always there, no greeting, frames come by `deliver`."""
        self._transport = transport
        self._online = True
        self.ready.set(None)

    def deliver(self, frame: bytes) -> None:
        """Takes a frame from the server."""
        handlers = self._handlers
        for message in wire.to_client_decoder.decode(frame):
            handler = handlers.get(type(message))
            if handler is not None:
                handler(message)

    def _run(self) -> None:
        try:
            transport = self._greet_patiently(again=False)
            while True:
                self._read(transport)
                if not self._wanted():
                    return
                tell_of_link(f"the link to the inrush server is lost; trying again for {_RECONNECT_S:.0f} s")
                transport = self._greet_patiently(again=True)
                tell_of_link("the link to the inrush server is there again")
        except Error as error:
            self._end(error)
        except BaseException as error:
            self._end(ConnectionError(f"the link to the inrush server broke: {type(error).__name__}: {error}"))

    def _read(self, transport: Transport) -> None:
        while (frame := transport.receive()) is not None:
            self.deliver(frame)
        self._online = False
        transport.close()

    def _wanted(self) -> bool:
        """Whether anybody needs another connection after this one has ended."""
        with self._state:
            self.alive = self.alive and bool(self._asks or self.calls or self.holders)
            return self.alive

    def _greet(self, start: bool) -> Transport:
        assert self._connect is not None
        transport, token = self._connect(start)
        try:
            environment = str(settings.load()["environment"].value)
            hello = wire.Hello(self.client, token, version=__version__, environment=environment)
            transport.send(wire.encode([hello]))
            self._check(transport)
            self.shared = self.shared or transport.shared()
            if self.shared is not None:
                self.shared.again()
            self._resume(transport)
        except BaseException:
            transport.close()
            raise
        return transport

    def _check(self, transport: Transport) -> None:
        """Checks that the server takes this client and speaks its version."""
        frame = transport.receive()
        if frame is None:
            raise _EndingError("the inrush server closed the connection; `inrush server logs` says why")
        messages = wire.to_client_decoder.decode(frame)
        first = messages[0] if messages else None
        if isinstance(first, wire.Rejected) and first.code == ConnectionError.__name__:
            raise _EndingError(first.message)
        if isinstance(first, wire.Rejected):
            raise from_code(first.code, first.message)
        if not isinstance(first, wire.Welcome):
            raise VersionError(
                "the server answered in another protocol; client and server should have the same version of inrush"
            )
        if minor(first.version) != minor(__version__):
            raise VersionError(remedy(first.version, __version__))
        self.python = first.python
        self._patience_s = 0.0 if first.background else _PATIENCE_S

    def _resume(self, transport: Transport) -> None:
        """Sends again what the last connection lost, before anything else is sent."""
        with self._sending, self._state:
            kept = [m for m in self._outbox if isinstance(m, wire.CancelCall | wire.ForgetCall | wire.Unfollow)]
            self._outbox.clear()
            again: list[Any] = []
            for call in list(self.calls.values()):
                again += call.resume()
            again += self._asks_again()
            self._outbox.extend([*again, *kept])
            self._transport, self._online = transport, True
        self.ready.set(None)
        self._flush()

    def _asks_again(self) -> list[Any]:
        again = []
        for rid, ask in list(self._asks.items()):
            if not ask.repeatable:
                what = (
                    "the connection broke during an operation that cannot be repeated blindly: look whether it was done"
                )
                ask.answer.fail(ConnectionError(what))
            else:
                again.append(wire.Ask(rid, ask.body))
        return again

    def _greet_patiently(self, again: bool) -> Transport:
        """Connects. A server that is ending is waited for, and after a broken link one that is not there."""
        began = time.monotonic()
        pause_s = _FIRST_PAUSE_S
        while True:
            waited_s = time.monotonic() - began
            try:
                return self._greet(start=not again or waited_s >= self._patience_s)
            except (AuthError, VersionError):
                raise
            except (Error, OSError) as error:
                if waited_s > _RECONNECT_S or not (again or isinstance(error, _EndingError)):
                    raise
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LAST_PAUSE_S)

    def _end(self, error: Error) -> None:
        with self._state:
            self.alive = False
        self.ready.fail(error)
        for ask in list(self._asks.values()):
            ask.answer.fail(error)
        for call in list(self.calls.values()):
            call.fail(error)
        while self._turns:
            self._turns.popleft().fail(error)

    # -- what arrives --

    def _of(self, message: Any, act: Callable[[InFlight], object]) -> None:
        call = self.calls.get(message.call)
        if call is not None:
            act(call)

    def _on_results(self, message: wire.Results) -> None:
        call = self.calls.get(message.call)
        if call is not None:
            call.results(message.indexes, message.statuses, message.payloads)
            if told := call.received(message.indexes[-1]):
                self.post(*told)

    def _on_answer(self, message: wire.Answer) -> None:
        ask = self._asks.get(message.rid)
        if ask is not None:
            ask.answer.set(message.result)

    def _on_refused(self, message: wire.Refused) -> None:
        ask = self._asks.get(message.rid)
        if ask is not None:
            ask.answer.fail(from_code(message.code, message.message))

    def _on_tagged(self, message: Any) -> None:
        ask = self._asks.get(message.rid)
        if ask is not None and ask.callback is not None:
            try:
                ask.callback(message)
            except Exception:  # whoever shows it cannot (a closed pipe): that ends the showing, not the calls
                ask.callback = None
