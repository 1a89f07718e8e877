"""The server's replies to an `Ask`: one `Answer` or `Refused`, and before it, or while something is followed, reports.

Each carries the `rid` of its ask.
"""

from __future__ import annotations

from typing import Any

from inrush.wire.structs import Message


class Answer(Message, frozen=True):
    """The result of an ask, as the docstring of its body's class describes it."""

    rid: int
    result: Any = None


class Refused(Message, frozen=True):
    """The ask failed. `code` names a class of `errors`."""

    rid: int
    code: str
    message: str


class Progress(Message, frozen=True):
    """Progress of an image build: `kind` is `step` (`text` is its title), `line` (a line of output), `done` or
    `cached`."""

    rid: int
    kind: str
    text: str


class Log(Message, frozen=True):
    """A line of an app's log. `stream` is `stdout`, `stderr`, `system` (a line of inrush itself) or `end` (how the
    container ended). `time` is in seconds since the epoch."""

    rid: int
    time: float
    container: str
    function: str
    call: str
    stream: str
    text: str


class State(Message, frozen=True):
    """A change in an app that is followed. Of `kind` `container`, `subject` is a container's id and `state` its new
    state; of `kind` `waiting`, `subject` is a function's name and `why` says what its calls wait for; of `kind`
    `retry`, `subject` is a function's name, `state` a call's id followed by its inputs that are tried again, and `why`
    says when; of `kind` `interact`, `subject` is a container's id, and `state` and `why` are the `program` and `place`
    of its `Interact`."""

    rid: int
    kind: str
    subject: str
    state: str
    why: str = ""
