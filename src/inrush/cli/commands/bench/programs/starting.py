"""Functions that tell when their module began and ended, on the clock that all processes share."""

import time

FIRST_LINE = time.monotonic()

import os  # noqa: E402

import inrush  # noqa: E402

app = inrush.App("bench-starts")


@app.function()
def stamped(x: int) -> tuple[str, float, float]:
    """The container, and the first and last line of its module."""
    return os.environ["INRUSH_CONTAINER_ID"], FIRST_LINE, LAST_LINE


@app.function(cpu=0.1, scaledown_window=1)
def crowd(x: int) -> float:
    return FIRST_LINE


LAST_LINE = time.monotonic()
