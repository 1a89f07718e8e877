"""What people see of an exception from a container: lines of the program, here and there, and none of the SDK."""

from __future__ import annotations

import os

from inrush.errors import Error
from inrush.shown import harmless


class RemoteTraceback(Exception):
    """The cause of an exception that came from a container: its traceback there, as text."""

    def __init__(self, text: str) -> None:
        text = harmless(str(text))
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


def trimmed(error: BaseException) -> BaseException:
    """The exception without the frames of the SDK, if it says what is wrong; `INRUSH_TRACEBACK=1` keeps them."""
    ours = isinstance(error, Error) or isinstance(error.__cause__, RemoteTraceback)
    return error.with_traceback(None) if ours and not os.environ.get("INRUSH_TRACEBACK") else error
