"""Raises `InputCancellation` inside the synchronous user code of one thread, and only there.

The main thread gets a signal whose handler raises, which also ends a `time.sleep` or a `recv`. Other threads get the
exception by `PyThreadState_SetAsyncExc`, at their next bytecode. The guest's own code must not be interrupted midway,
so the exception is raised only between `open` and `close`, and not inside `with interrupter:`, which surrounds what
user code does through the guest (print, yield); an interruption that is asked for inside is raised when the block ends.
At most one exception is raised per attempt, so code that has caught it can call `close` safely.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Protocol

from inrush.errors import InputCancellation

_SIGNAL = signal.SIGUSR1
_WHY = "the input was cancelled"


class Interruptible(Protocol):
    """An attempt, which other threads interrupt through its `interrupter`."""

    interrupter: Interrupter | None


class Interrupter:
    """The interrupter of one worker thread; it must be made in that thread."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._attempt: Interruptible | None = None
        self._wanted = False
        self._owed = False
        self._raised = False
        self._depth = 0
        self._by_signal = threading.current_thread() is threading.main_thread()
        if self._by_signal:
            self._handler = self._on_signal
            signal.signal(_SIGNAL, self._handler)

    @property
    def mine(self) -> bool:
        """Whether the caller is the thread that is interrupted; threads that user code starts are not."""
        return threading.get_ident() == self._thread

    def open(self, attempt: Interruptible) -> None:
        """Notes that user code of `attempt` begins: it may be interrupted from here on."""
        with self._lock:
            self._attempt, self._wanted, self._owed, self._raised, self._depth = attempt, False, False, False, 0
        attempt.interrupter = self

    def close(self) -> None:
        """Notes that user code has ended: nothing is raised from here on."""
        with self._lock:
            self._attempt = None
            if self._wanted and not self._by_signal:
                _raise_in(self._thread, None)

    def interrupt(self, attempt: Interruptible) -> None:
        """Interrupts this attempt if it is still the one that runs; called from another thread. The caller repeats it
        until the attempt has ended, since a signal has no effect on a thread that is just about to block."""
        with self._lock:
            if self._attempt is not attempt or self._raised or (self._wanted and not self._by_signal):
                return
            self._wanted = True
            if self._depth:
                self._owed = True
            elif self._by_signal and signal.getsignal(_SIGNAL) == self._handler:
                signal.pthread_kill(self._thread, _SIGNAL)
            else:
                _raise_in(self._thread, InputCancellation)

    def __enter__(self) -> None:
        with self._lock:
            self._depth += 1
        try:
            _checkpoint()
        except BaseException:
            self._depth -= 1
            raise

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._depth -= 1
            owed = self._owed and not self._depth
            self._owed = self._owed and not owed
        if owed and self._attempt is not None and not self._raised:
            self._raised = True
            raise InputCancellation(_WHY)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._attempt is None or not self._wanted or self._raised:
            return
        if self._depth:
            self._owed = True
        else:
            self._raised = True
            raise InputCancellation(_WHY)


def _checkpoint() -> None:
    """Does nothing: at the start of a Python function the interpreter raises an exception that another thread has
    set."""


def _raise_in(thread: int, exception: type[BaseException] | None) -> None:
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(exception) if exception else None
    )
