"""Worker threads: each takes sync inputs, one after the other, and runs user code."""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from inrush.errors import Error, InputCancellation
from inrush.guest import process, results
from inrush.guest.attempt import Answer, Attempt, current
from inrush.guest.children import ChildrenEndHere
from inrush.guest.generators import Credit, iterate, iterate_async
from inrush.guest.inputs import Inputs
from inrush.guest.interrupt import Interrupter
from inrush.guest.outbox import Outbox
from inrush.guest.results import Result

if TYPE_CHECKING:
    from inrush.guest.tasks import Tasks


_PLAIN = frozenset({type(None), bool, int, float, str, bytes, tuple, list, dict})
"""Types of most results, which nobody awaits; to look for an attribute that is not there takes longer than this."""


class Workers:
    """All worker threads. Where there is one slot the main thread is the only one, by `work`; others are started when
    needed, and stay."""

    def __init__(self, inputs: Inputs, outbox: Outbox, answer: Answer, tasks: Tasks) -> None:
        self._inputs, self._outbox, self._answer, self._tasks = inputs, outbox, answer, tasks
        self.count = int(inputs.limit == 1)

    def ensure(self, wanted: int) -> None:
        """Starts threads until there are `wanted`."""
        while self.count < wanted:
            self.count += 1
            threading.Thread(target=self._work_or_leave, name=f"inrush-input-{self.count}", daemon=True).start()

    def _work_or_leave(self) -> None:
        """Works, and ends the guest on a defect: a broken worker would keep its slot and its input for ever."""
        try:
            self.work()
        except BaseException:
            import traceback

            traceback.print_exc(file=sys.__stderr__)
            process.leave(process.BROKEN)

    def work(self) -> None:
        """Runs inputs until the guest ends."""
        inputs, outbox, interrupter = self._inputs, self._outbox, Interrupter()
        while inputs.wait():
            while (attempt := inputs.take()) is not None:
                outbox.promise()  # this one may take long, and the results before it should not wait for it
                status, payload = self._run(attempt, interrupter)
                elapsed = time.monotonic() - attempt.started
                self._answer(attempt, status, payload, elapsed)
                inputs.finish(attempt, elapsed)
            outbox.flush()

    def _run(self, attempt: Attempt, interrupter: Interrupter) -> Result:
        try:
            return contextvars.copy_context().run(self._call, attempt, interrupter)
        except BaseException as late:  # an interrupt that arrived between the end of user code and `close`
            interrupter.close()
            return results.failed(late)

    def _call(self, attempt: Attempt, interrupter: Interrupter) -> Result:
        current.set(attempt)
        try:
            args, kwargs = results.arguments(attempt.payload)
        except Error as error:
            return results.refused(error)
        like, attempt.payload = results.codec_of(attempt.payload), b""
        try:
            interrupter.open(attempt)
            if attempt.forced:
                raise InputCancellation
            with ChildrenEndHere():
                value = self._value(attempt, interrupter, args, kwargs)
            interrupter.close()
        except BaseException as error:
            interrupter.close()
            return results.failed(error, like)
        return results.succeeded(value, like)

    def _value(self, attempt: Attempt, interrupter: Interrupter, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What user code returns. What is async only when it is called, such as a wrapped coroutine function, runs on
        the loop."""
        value = attempt.target.run(*args, **kwargs)
        if not isinstance(attempt.mailbox, Credit):
            plain = type(value) in _PLAIN or not hasattr(type(value), "__await__")
            return value if plain else self._tasks.awaited(value, attempt)
        if hasattr(type(value), "__aiter__"):
            self._tasks.awaited(iterate_async(value, attempt, self._outbox), attempt)
        else:
            iterate(value, attempt, interrupter, self._outbox)
        return None
