"""`inrush.interact()`: joins the code of a container to the terminal of the person who runs the app by `inrush run -i`.

    interact() ── Interact ──▶ server ── State ──▶ inrush run -i ── container exec ──▶ `_visitor`, on a terminal
        ▲                                                                                      │
        └──────────────── a socket in the container: the terminal's name, then Ctrl-C ─────────┘

The terminal is one of the container, so the function opens it by its name. Python's streams and the descriptors 0, 1
and 2 are the terminal from then on, until the person has gone.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
from types import CodeType, FrameType
from typing import Any

from inrush.client._dual import block
from inrush.client._link import current
from inrush.errors import InvalidError, TimeoutError
from inrush.wire import Interact

PATIENCE_S = 60.0
"""A terminal that was asked for is there after so long, or never."""
INTERRUPT = signal.SIGRTMIN
"""Raises `KeyboardInterrupt` in the main thread. A SIGINT would have the container stop."""
_NAME_BYTES = 100

_joining = threading.Lock()
_joined: Joined | None = None


def interact() -> None:
    """Joins this code to the terminal of the person who runs the app by `inrush run -i`: `input()`, a debugger or a
    shell then talk to the person. `breakpoint()` does it by itself. Calls after the first do nothing.

    Raises `InvalidError` outside of a container, or if nobody runs the app at a terminal. All inputs that a container
    runs at once share the terminal. Ctrl-C interrupts the code that called this, if that runs in the main thread, and
    Ctrl-\\ takes the terminal back.
    """
    _join(sys._getframe(1))


def _join(asker: FrameType) -> None:
    global _joined
    if not os.environ.get("INRUSH_IS_REMOTE"):
        raise InvalidError("interact() is for code in containers; here there is a terminal already")
    with _joining:
        if _joined is None or _joined.gone:
            _joined = Joined(*_visitor())
        _joined.asker = id(asker), asker.f_code


def _visitor() -> tuple[socket.socket, str]:
    """Has a visitor come, and returns the connection to it, with the name of its terminal."""
    with tempfile.TemporaryDirectory(prefix="inrush-") as folder, socket.socket(socket.AF_UNIX) as door:
        place = os.path.join(folder, "door")
        door.bind(place)
        door.listen(1)
        door.settimeout(PATIENCE_S)
        block(_ask(place))
        try:
            visitor, _ = door.accept()
        except OSError:
            raise TimeoutError(f"the terminal of `inrush run -i` did not come within {PATIENCE_S:g} s") from None
        visitor.settimeout(None)
        if name := visitor.recv(_NAME_BYTES).decode():
            return visitor, name
        raise TimeoutError("the terminal of `inrush run -i` went as it came")


async def _ask(place: str) -> None:
    await (await current()).ask(Interact(sys.executable, place))


class Joined:
    """The terminal as this process's own. What it replaces is put back when the visitor goes."""

    def __init__(self, visitor: socket.socket, name: str) -> None:
        self.gone = False
        self.asker: tuple[int, CodeType] | None = None
        """The frame that asked last, by its id since a frame holds its variables, and its code."""
        self._visitor = visitor
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._before = [os.dup(fd) for fd in range(3)]
        self._main = threading.main_thread().ident or 0
        terminal = os.open(name, os.O_RDWR | os.O_NOCTTY)
        for fd in range(3):
            os.dup2(terminal, fd)
        os.close(terminal)
        sys.stdin, sys.stdout, sys.stderr = (_stream(fd, "r" if fd == 0 else "w") for fd in range(3))
        if threading.current_thread() is threading.main_thread():
            signal.signal(INTERRUPT, self._interrupt)
            threading.Thread(target=self._listen, args=({signal.SIGINT: INTERRUPT},), daemon=True).start()
        else:
            threading.Thread(target=self._listen, args=({},), daemon=True).start()

    def _listen(self, known: dict[int, int]) -> None:
        """Passes on what the visitor's terminal says, until the visitor goes."""
        while heard := self._visitor.recv(1):
            if number := known.get(heard[0]):
                signal.pthread_kill(self._main, number)
        self._leave()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Raises in the code that asked; once that has ended, nobody is interrupted."""
        while frame is not None:
            if (id(frame), frame.f_code) == self.asker:
                raise KeyboardInterrupt
            frame = frame.f_back

    def _leave(self) -> None:
        self.gone = True
        sys.stdin, sys.stdout, sys.stderr = self._streams
        for fd, before in enumerate(self._before):
            os.dup2(before, fd)
            os.close(before)
        self._visitor.close()


def _stream(fd: int, mode: str) -> Any:
    return open(fd, mode, buffering=1, encoding="utf-8", errors="replace", closefd=False)


def stop(frame: FrameType, *args: Any, **kwargs: Any) -> Any:
    """What `breakpoint()` does in a container: a debugger on the person's terminal stops in this frame."""
    if "PYTHONBREAKPOINT" in os.environ:
        return sys.__breakpointhook__(*args, **kwargs)
    _join(frame)
    import pdb

    return pdb.Pdb().set_trace(frame)
