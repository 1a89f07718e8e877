"""Runs async inputs as tasks on one event loop, in the main thread."""

from __future__ import annotations

import gc
import sys
import time
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from inrush.errors import Error
from inrush.guest import results
from inrush.guest.attempt import Answer, Attempt, current
from inrush.guest.children import ChildrenEndHere
from inrush.guest.generators import Credit, iterate_async
from inrush.guest.inputs import Inputs
from inrush.guest.main_thread import MainThread
from inrush.guest.outbox import LATENCY_S, Outbox
from inrush.guest.protocol import INLINE_LIMIT_BYTES, OK
from inrush.guest.results import Result
from inrush.guest.tracebacks import traceback_text

if TYPE_CHECKING:
    import asyncio

COLLECT_S = 0.25
"""How long garbage of clients that left is gathered before it is collected."""


class Tasks:
    """The event loop and the attempts that run on it."""

    def __init__(self, inputs: Inputs, outbox: Outbox, answer: Answer, main: MainThread) -> None:
        self._inputs, self._outbox, self._answer, self._main = inputs, outbox, answer, main
        self._starting: deque[Attempt] = deque()
        self._crossing = False
        self._flushing = False
        self._collecting = False
        self._running: set[asyncio.Task[None]] = set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; made when it is first needed."""
        return self._main.loop

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """From any thread but inside the loop: run this to its end."""
        if not self._main.is_here:
            import asyncio

            return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()
        task = self.loop.create_task(coroutine)
        try:
            return self.loop.run_until_complete(task)
        except BaseException:
            task.cancel()
            raise

    def awaited(self, value: Any, attempt: Attempt) -> Any:
        """What sync user code returned to be awaited: its value. Meanwhile the attempt is interrupted as a task."""
        return self.run(self._hold(value, attempt))

    async def _hold(self, value: Any, attempt: Attempt) -> Any:
        import asyncio

        attempt.task = asyncio.current_task()
        try:
            if attempt.forced:
                raise asyncio.CancelledError
            return await value
        finally:
            attempt.task = None

    def start(self, attempt: Attempt) -> None:
        """Starts this attempt, on any thread. Attempts that come together wake the loop once."""
        if self._main.is_here:
            self._start(attempt)
            return
        self._starting.append(attempt)
        if not self._crossing:
            self._crossing = True
            self.loop.call_soon_threadsafe(self._start_all)

    def interrupt(self, attempt: Attempt) -> None:
        """Cancels the attempt's task; on any thread."""
        self.loop.call_soon_threadsafe(self._cancel, attempt)

    def _start_all(self) -> None:
        self._crossing = False
        while self._starting:
            self._start(self._starting.popleft())

    def _start(self, attempt: Attempt) -> None:
        task = self.loop.create_task(self._run(attempt))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _cancel(self, attempt: Attempt) -> None:
        if attempt.task is not None:
            attempt.task.cancel()

    async def _run(self, attempt: Attempt) -> None:
        import asyncio

        current.set(attempt)
        attempt.task = asyncio.current_task()
        try:
            if attempt.forced:
                raise asyncio.CancelledError
            status, payload = await self._call(attempt)
        except asyncio.CancelledError as error:
            status, payload = results.failed(error)
        elapsed = time.monotonic() - attempt.started
        attempt.task = None  # from here on nothing cancels it
        if len(payload) > INLINE_LIMIT_BYTES and not attempt.forced:
            await asyncio.to_thread(self._answer, attempt, status, payload, elapsed)
        else:
            self._answer(attempt, status, payload, elapsed)
        self._inputs.finish(attempt, elapsed)
        if not self._flushing:
            self._flushing = True
            self.loop.call_later(LATENCY_S if self._inputs.pending else 0, self._flush)

    def _flush(self) -> None:
        """Flushes the outbox once for all tasks that ended together, so that their results share a frame."""
        self._flushing = False
        self._outbox.flush()

    async def _call(self, attempt: Attempt) -> Result:
        if attempt.target.site is not None:
            return await self._serve_web(attempt)
        try:
            args, kwargs = results.arguments(attempt.payload)
        except Error as error:
            return results.refused(error)
        like, attempt.payload = results.codec_of(attempt.payload), b""
        try:
            with ChildrenEndHere():
                value = attempt.target.run(*args, **kwargs)
                if isinstance(attempt.mailbox, Credit):
                    await iterate_async(value, attempt, self._outbox)
                    value = None
                else:
                    value = await value
        except BaseException as error:
            return results.failed(error, like)
        return results.succeeded(value, like)

    async def _serve_web(self, attempt: Attempt) -> Result:
        try:
            return await self._answer_web(attempt)
        finally:
            if attempt.mailbox.left or attempt.forced:
                self._collect_soon()

    def _collect_soon(self) -> None:
        """What a client that left was being sent is often part of a circle of garbage (of an exception, its traceback
        and their frames), and the `finally` of a generator in it runs when that is collected."""
        if not self._collecting:
            self._collecting = True
            self.loop.call_later(COLLECT_S, self._collect)

    def _collect(self) -> None:
        self._collecting = False
        gc.collect()

    async def _answer_web(self, attempt: Attempt) -> Result:
        try:
            with ChildrenEndHere():
                await attempt.mailbox.serve()
        except BaseException as error:
            if not attempt.forced:
                sys.stderr.write(traceback_text(error))
            return results.failed(error)
        return OK, b""
