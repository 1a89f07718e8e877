"""How often a failed input is tried again. The server retries, so retries go on after the client has left."""

from __future__ import annotations

from datetime import timedelta

from inrush import wire
from inrush.client._checks import COUNT_MAX, DAY_S, count, number
from inrush.errors import InvalidError


class Retries:
    """When failed inputs are tried again, for `@app.function(retries=…)`.

    The n-th retry waits `initial_delay · backoff_coefficient ** (n - 1)`, at most `max_delay`. `max_retries` is the
    number of tries after the first one, 0 or more. `backoff_coefficient` is between 1.0 and 10.0, by default 2.0.
    `initial_delay` (0 to 60 s, default 1) and `max_delay` (1 s to 24 h, default 60) are seconds or a `timedelta`.
    Exceptions of user code, timeouts and crashes count; a lost machine does not. Raises `InvalidError` outside of these
    limits.
    """

    def __init__(
        self,
        *,
        max_retries: int,
        backoff_coefficient: float = 2.0,
        initial_delay: float | timedelta = 1.0,
        max_delay: float | timedelta = 60.0,
    ) -> None:
        self.max_retries = max_retries
        self.backoff_coefficient = _number("backoff_coefficient", backoff_coefficient)
        self.initial_delay = _number("initial_delay", initial_delay)
        self.max_delay = _number("max_delay", max_delay)
        count("Retries: max_retries", max_retries)
        if not 1.0 <= self.backoff_coefficient <= 10.0:
            raise InvalidError(f"Retries: backoff_coefficient is between 1.0 and 10.0, not {backoff_coefficient!r}")
        if not 0.0 <= self.initial_delay <= 60.0:
            raise InvalidError(f"Retries: initial_delay is between 0 and 60 s, not {initial_delay!r}")
        if not 1.0 <= self.max_delay <= DAY_S:
            raise InvalidError(f"Retries: max_delay is between 1 s and 24 h, not {max_delay!r}")

    def __repr__(self) -> str:
        return (
            f"Retries(max_retries={self.max_retries}, backoff_coefficient={self.backoff_coefficient}, "
            f"initial_delay={self.initial_delay}, max_delay={self.max_delay})"
        )


def to_wire(retries: int | Retries | None) -> wire.Retries:
    """The retry policy for the server. A plain number means that many retries, one second apart."""
    if retries is None:
        return wire.Retries()
    if isinstance(retries, Retries):
        return wire.Retries(
            max_retries=retries.max_retries,
            backoff_coefficient=retries.backoff_coefficient,
            initial_delay_s=retries.initial_delay,
            max_delay_s=retries.max_delay,
        )
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= COUNT_MAX:
        raise InvalidError(f"retries is a whole number of 0 or more, or a Retries, not {retries!r}")
    return wire.Retries(max_retries=retries, backoff_coefficient=1.0, initial_delay_s=1.0)


def _number(name: str, value: float | timedelta) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not number(value):
        raise InvalidError(f"Retries: {name} is a number, not {value!r}")
    return float(value)
