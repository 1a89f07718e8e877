"""Worker threads: each takes sync inputs, one after the other, and runs user code."""

from __future__ import annotations

import contextvars
import sys
import threading
import time

from inrush.errors import DeserializationError, InputCancellation
from inrush.guest import process, results
from inrush.guest.attempt import Answer, Attempt, current
from inrush.guest.generators import Credit, iterate
from inrush.guest.inputs import Inputs
from inrush.guest.interrupt import Interrupter
from inrush.guest.outbox import Outbox
from inrush.guest.results import Result


class Workers:
    """All worker threads. The main thread is the first, by `work`; others are started when needed, and stay."""

    def __init__(self, inputs: Inputs, outbox: Outbox, answer: Answer) -> None:
        self._inputs, self._outbox, self._answer = inputs, outbox, answer
        self.count = 1

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
                status, payload = _run(attempt, interrupter, outbox)
                elapsed = time.monotonic() - attempt.started
                self._answer(attempt, status, payload, elapsed)
                inputs.finish(attempt, elapsed)
            outbox.flush()


def _run(attempt: Attempt, interrupter: Interrupter, outbox: Outbox) -> Result:
    try:
        return contextvars.copy_context().run(_call, attempt, interrupter, outbox)
    except BaseException as late:  # an interrupt that arrived between the end of user code and `close`
        interrupter.close()
        return results.failed(late)


def _call(attempt: Attempt, interrupter: Interrupter, outbox: Outbox) -> Result:
    current.set(attempt)
    try:
        args, kwargs = results.arguments(attempt.payload)
    except DeserializationError as error:
        return results.refused(error)
    like, attempt.payload = results.codec_of(attempt.payload), b""
    try:
        interrupter.open(attempt)
        if attempt.forced:
            raise InputCancellation
        value = attempt.target.run(*args, **kwargs)
        if isinstance(attempt.mailbox, Credit):
            iterate(value, attempt, interrupter, outbox)
            value = None
        interrupter.close()
    except BaseException as error:
        interrupter.close()
        return results.failed(error, like)
    return results.succeeded(value, like)
