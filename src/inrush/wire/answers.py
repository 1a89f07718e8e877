"""What the server says to an ask: its one answer, or what it tells on the way and while something is followed.

Each carries the `rid` of its ask.
"""

from __future__ import annotations

from typing import Any

from inrush.wire.structs import Message


class Answer(Message, frozen=True):
    rid: int
    result: Any = None


class Refused(Message, frozen=True):
    rid: int
    code: str
    message: str


class Progress(Message, frozen=True):
    """Of an ask that takes long (an image build): `kind` is `step` (text: its title), `line` (a line of output),
    `done`, `cached`."""

    rid: int
    kind: str
    text: str


class Log(Message, frozen=True):
    """`stream` is `stdout`, `stderr`, `system` (ours) or `end` (how the container ended). `time` is in seconds since
    the epoch."""

    rid: int
    time: float
    container: str
    function: str
    call: str
    stream: str
    text: str


class State(Message, frozen=True):
    """`kind`: `container` (subject: its id, state: its new state) or `waiting` (subject: a function's name; why: what
    its calls wait for)."""

    rid: int
    kind: str
    subject: str
    state: str
    why: str = ""
