"""Calls that the server owns, as they are in flight here: until it has them, and while somebody waits for results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inrush.client._dual import Mailbox, Waiter
from inrush.client._inflight import Chunk, InFlight
from inrush.errors import Error
from inrush.wire import AwaitCall, StartCall


class Spawn(InFlight):
    """A call that the server will own: it is over for us when the server has committed it."""

    def __init__(self, start: StartCall, more: Sequence[Any] = ()) -> None:
        self.call = start.call
        self._messages = [start, *more]
        self.committed: Waiter[None] = Waiter()

    def start(self) -> list[Any]:
        return self._messages

    def resume(self) -> list[Any]:
        return self._messages

    def accepted(self, window: int) -> None:
        self.committed.set(None)

    def fail(self, error: Error) -> None:
        self.committed.fail(error)


class Awaited(InFlight):
    """Results of a call that the server owns, for everybody here who waits for some of them. Only what somebody asked
    for is sent, so memory is bounded by what is asked for at once."""

    def __init__(self, call: str) -> None:
        self.call = call
        self.listeners: dict[Mailbox[Chunk | BaseException], range] = {}
        """Each with the inputs whose results it waits for."""
        self._unsent: list[range] = []

    def want(self, listener: Mailbox[Chunk | BaseException], wanted: range, more: range) -> None:
        """It waits for `wanted`, of which `more` is to be asked for."""
        self.listeners[listener] = wanted
        self._unsent.append(more)

    def start(self) -> list[Any]:
        unsent, self._unsent = self._unsent, []
        return [AwaitCall(self.call, span.start, len(span)) for span in unsent]

    def resume(self) -> list[Any]:
        self._unsent = list(self.listeners.values())
        return self.start()

    def results(self, indexes: Sequence[int], statuses: Sequence[int], payloads: Sequence[bytes]) -> None:
        for listener, wanted in list(self.listeners.items()):
            at = [n for n, index in enumerate(indexes) if index in wanted]
            if at:
                listener.put(Chunk([indexes[n] for n in at], [statuses[n] for n in at], [payloads[n] for n in at]))

    def fail(self, error: Error) -> None:
        for listener in list(self.listeners):
            listener.put(error)
