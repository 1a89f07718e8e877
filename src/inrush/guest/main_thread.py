"""The guest's main thread. It runs the event loop and, in containers of one slot, sync inputs in turn with the loop.

Python lets only the main thread set signal handlers, so async and sync user code run there wherever that is possible.
No loop is made until something needs one; until then the thread blocks on a queue. In a container of several slots the
main thread runs no sync inputs, because they would block the loop.
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
    """A bell on which only the main thread waits. While it waits, it runs the event loop."""

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
        """The event loop. The first access, from any thread, makes it."""
        if self._loop is None:
            import asyncio

            with self._making:
                if self._loop is None:
                    self._loop = asyncio.new_event_loop()
                    self._rung.put(False)  # the main thread wakes, and runs the loop from now on
        return self._loop

    def ring(self) -> None:
        """Ends one `wait`. Any thread may call it."""
        self._rung.put(True)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop)

    def wait(self) -> None:
        """Blocks until the bell rings, and runs the loop meanwhile."""
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
        """Sleeps, and runs the loop meanwhile. It may return early if the bell rings."""
        if self._loop is None:
            time.sleep(seconds)
        else:
            self._loop.call_later(seconds, self._stop)
            self._turn()

    def _turn(self) -> None:
        """Runs the loop until it is stopped. A `SystemExit` from a task of user code ends only that task."""
        assert self._loop is not None
        self._turning = True
        try:
            self._loop.run_forever()
        except BaseException as error:
            sys.stderr.write(traceback_text(error))
        finally:
            self._turning = False

    def _stop(self) -> None:
        """Stops the loop if `_turn` runs it. A hook that runs the loop with `run_until_complete` is not interrupted by
        an earlier ring."""
        if self._loop is not None and self._turning:
            self._loop.stop()
