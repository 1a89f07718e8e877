"""The output of `inrush run -i`: plain lines, and this terminal for code in a container that asks for it.

Code asks by `inrush.interact()` or `breakpoint()`. A thread then executes a visitor in its container on a terminal that
is joined to this one. One container has the terminal at a time.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from inrush.cli import api
from inrush.cli.screen import failures, screen, terminal
from inrush.cli.screen.output import Plain
from inrush.wire import State

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_VISITOR = "inrush.client._visitor"
_LAST_WORDS_S = 2.0
"""What was written on the terminal before is shown for so long."""


class Person(Plain):
    """Made by the main thread. `resizes` is what `terminal.resized` gave."""

    interactive = True

    def __init__(self, timestamps: bool, resizes: int) -> None:
        super().__init__(timestamps=timestamps)
        self._resizes = resizes
        self._joined: threading.Thread | None = None
        self._socket: ClientConnection | None = None
        self._left = False

    def state(self, told: State) -> None:
        if told.kind != "interact":
            super().state(told)
        elif not self._left and (self._joined is None or not self._joined.is_alive()):
            self._joined = threading.Thread(target=self._join, args=(told,), daemon=True)
            self._joined.start()

    def say(self, text: str, err: bool = False) -> None:
        if self._joined is None or not self._joined.is_alive():
            super().say(text, err)
            return
        screen.say(text, err=err, nl=False)  # the terminal is raw: it does not return to the line's beginning by itself
        stream = sys.stderr if err else sys.stdout
        stream.write("\r\n")
        stream.flush()

    def leave(self) -> None:
        """Takes the terminal back, since the program has ended."""
        from websockets.exceptions import WebSocketException

        self._left = True
        if self._joined is None or self._socket is None:
            return
        with contextlib.suppress(WebSocketException):
            self._socket.send(json.dumps({"leave": True}))
            self._joined.join(_LAST_WORDS_S)
            self._socket.close()
        self._joined.join()

    def _keep(self, socket: ClientConnection) -> None:
        self._socket = socket

    def _join(self, told: State) -> None:
        argv = (told.state, "-m", _VISITOR, told.why)
        path = f"/containers/{api.name(told.subject)}/exec"
        try:
            terminal.attach(path, argv, pty=True, resizes=self._resizes, joined=self._keep)
        except Exception as error:
            if not self._left:
                failures.report(error)


@contextlib.contextmanager
def shown(timestamps: bool) -> Iterator[Person]:
    """Apps that are started in the block show what they do, and may have this terminal."""
    from inrush.client._output import use

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("--interactive is for a person at a terminal, and there is none here")
    with terminal.resized() as resizes:
        person = Person(timestamps, resizes)
        with use(person):
            yield person
