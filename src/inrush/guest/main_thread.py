"""The main thread: the event loop runs in it, and in containers of one slot sync inputs do, in turn with the loop.

Python lets only the main thread set signal handlers, so both kinds of user code run there wherever that is possible.
Until something needs a loop there is none, and the thread sleeps on a queue. Where a container has several slots the
main thread takes no sync input, which would hold up the loop.
"""

from __future__ import annotations

import sys
import threading
import time
from queue import Empty
from typing import TYPE_CHECKING

from inrush.guest.inputs import Bell
from inrush.guest.tracebacks import traceback_text

if TYPE_CHECKING:
    import asyncio


class MainThread(Bell):
    """A bell to which the main thread alone listens. While it waits, it runs the loop."""

    def __init__(self) -> None:
        super().__init__()
        self._ident = threading.main_thread().ident
        self._loop: asyncio.AbstractEventLoop | None = None
        self._making = threading.Lock()
        self._turning = False

    @property
    def is_here(self) -> bool:
        """Whether the caller is the main thread."""
        return threading.get_ident() == self._ident

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, made when it is first asked for, by any thread."""
        if self._loop is None:
            import asyncio

            with self._making:
                if self._loop is None:
                    self._loop = asyncio.new_event_loop()
                    self._rung.put(False)  # a thread that sleeps on the queue turns to the loop
        return self._loop

    def ring(self) -> None:
        """From any thread: end one `wait`."""
        self._rung.put(True)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop)

    def wait(self) -> None:
        """Sleep until the bell rings."""
        while True:
            if self._loop is None:
                rung = self._rung.get()
            else:
                try:
                    rung = self._rung.get_nowait()
                except Empty:
                    self._turn()
                    continue
            if rung:
                return

    def rest(self, seconds: float) -> None:
        """Sleep for a moment."""
        if self._loop is None:
            time.sleep(seconds)
        else:
            self._loop.call_later(seconds, self._stop)
            self._turn()

    def _turn(self) -> None:
        """Run the loop until it is stopped. A task of user code that exits ends itself alone."""
        assert self._loop is not None
        self._turning = True
        try:
            self._loop.run_forever()
        except BaseException as error:
            sys.stderr.write(traceback_text(error))
        finally:
            self._turning = False

    def _stop(self) -> None:
        """In the loop: end this turn. A hook that runs to its end is not stopped by a ring that came before."""
        if self._loop is not None and self._turning:
            self._loop.stop()
