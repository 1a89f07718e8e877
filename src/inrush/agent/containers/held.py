"""What one container was given and has not answered: only about that may its guest speak.

A result, an item or a returned input of anything else is a violation. The one exception are attempts that the agent has
answered itself (cancelled while their argument was on its way): the guest may not know yet, so its answer is passed
over. Items of a generator come in order and within the credit that its consumer granted; a web response may be
`frames.AHEAD_PIECES` ahead of its grants.
"""

from __future__ import annotations

from collections import OrderedDict

from inrush import frames
from inrush.agent.containers.deadlines import Attempt, Deadlines

MAX_TAGS = 1024
"""Calls whose output is still tagged after their inputs have ended: a thread that they left behind may print."""
MAX_SETTLED = 4096
"""Attempts answered by the agent whose own answer may still come."""


class _Stream:
    """An input that yields: items that have come, and those that may."""

    __slots__ = ("allowed", "came", "web")

    def __init__(self, allowed: int, web: bool) -> None:
        self.came, self.allowed, self.web = 0, allowed, web


class Held:
    """Of one container; `deadlines` has the attempts themselves."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._streams: dict[Attempt, _Stream] = {}
        self._settled: OrderedDict[Attempt, None] = OrderedDict()
        self._tags: OrderedDict[str, None] = OrderedDict()

    def gave(self, call: str, kind: str, indexes: tuple[int, ...], now: float) -> None:
        """Inputs were sent to the guest."""
        self._deadlines.add(call, indexes, now)
        if call not in self._tags:
            self._tags[call] = None
            if len(self._tags) > MAX_TAGS:
                self._tags.popitem(last=False)
        if kind in ("gen", "web"):
            ahead = frames.AHEAD_PIECES if kind == "web" else 0
            for index in indexes:
                self._streams[call, index] = _Stream(ahead, kind == "web")
        if self._settled:
            for index in indexes:
                self._settled.pop((call, index), None)

    def granted(self, call: str, index: int, credit: int) -> None:
        """The consumer takes so many more items."""
        stream = self._streams.get((call, index))
        if stream is not None:
            stream.allowed += credit

    def is_web(self, call: str, index: int) -> bool:
        """Whether an input is a web request."""
        stream = self._streams.get((call, index))
        return stream is not None and stream.web

    def settle(self, call: str, indexes: tuple[int, ...], now: float) -> None:
        """The agent answers for the guest."""
        self._deadlines.remove(call, indexes, now)
        for index in indexes:
            self._streams.pop((call, index), None)
            self._settled[call, index] = None
        while len(self._settled) > MAX_SETTLED:
            self._settled.popitem(last=False)

    def check(self, call: str, indexes: tuple[int, ...]) -> None:
        """Raises `FrameError` unless the guest may speak about these inputs."""
        for index in indexes:
            if not self._deadlines.holds(call, index) and (call, index) not in self._settled:
                raise frames.FrameError("it sent a frame about an input that it does not have")

    def holds(self, call: str, index: int) -> bool:
        """Whether the guest has this input, and has not answered it."""
        return self._deadlines.holds(call, index)

    def ended(self, call: str, indexes: tuple[int, ...], now: float) -> list[int]:
        """The guest's last word about these; positions of those that were settled before it. Raises `FrameError` for
        inputs that it does not hold."""
        strange = self._deadlines.remove(call, indexes, now)
        if self._streams:
            for index in indexes:
                self._streams.pop((call, index), None)
        for position in strange:
            if self._settled.pop((call, indexes[position]), self) is self:
                raise frames.FrameError("it answered an input that it does not have")
        return strange

    def yields(self, call: str, index: int, first: int, count: int) -> bool:
        """Items have come; False where nobody wants them any more. Raises `FrameError` where they may not."""
        stream = self._streams.get((call, index))
        if stream is None:
            if (call, index) in self._settled:
                return False
            raise frames.FrameError("it yielded for an input that it does not have, or that is no generator")
        stream.came += count
        if first != stream.came - count or stream.came > stream.allowed:
            raise frames.FrameError("it yielded out of order, or more than it was granted")
        return True

    def tag(self, call: str) -> str:
        """The call that output belongs to; empty where this container had no such one."""
        return call if call in self._tags else ""
