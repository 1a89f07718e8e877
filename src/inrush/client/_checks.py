"""Checks of what programs give: each returns the value, or raises an `InvalidError` that names the parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from inrush.errors import InvalidError

DAY_S = 24 * 3600.0
COUNT_MAX = 1_000_000


def count(what: str, value: Any, least: int = 0, most: int = COUNT_MAX) -> int:
    """Checks a whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        upto = f" and at most {most:,}" if isinstance(value, int) and value > most else ""
        raise InvalidError(f"{what} is a whole number of at least {least}{upto}, not {value!r}")
    return value


def seconds(what: str, value: Any, least: float = 0.001) -> float:
    """Checks a time of up to a day."""
    if not number(value) or not least <= value <= DAY_S:
        above = "above 0" if least else "0 or more"
        raise InvalidError(f"{what} is in seconds, {above} and up to 24 h, not {value!r}")
    return float(value)


def number(value: object) -> bool:
    """Whether a value is a finite number and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def flag(what: str, value: Any) -> bool:
    """Checks a bool; None counts as False."""
    if value is not None and not isinstance(value, bool):
        raise InvalidError(f"{what} is True or False, not {value!r}")
    return bool(value)


def name(what: str, value: Any) -> str:
    """Checks a string that is not empty."""
    if not is_text(value) or not value:
        raise InvalidError(f"{what} is a string, not {value!r}")
    return str(value)


def is_text(value: object) -> bool:
    """Whether a value is a string that can be sent: one without halves of characters (lone surrogates)."""
    return isinstance(value, str) and (value.isascii() or value.encode("utf-8", "replace").decode() == value)


def strings(what: str, value: Any) -> dict[str, str]:
    """Checks a mapping of names to strings; None counts as empty."""
    if value is not None and not isinstance(value, Mapping):
        raise InvalidError(f"{what} maps names to strings, not {value!r}")
    for key, text in (value or {}).items():
        if not is_text(key) or not key or not is_text(text):
            raise InvalidError(f"{what} maps names to strings, not {key!r} to {text!r}")
    return dict(value or {})


def environment(what: str, value: Any) -> dict[str, str]:
    """Checks environment variables, and leaves out those that are None."""
    if isinstance(value, Mapping):
        value = {key: text for key, text in value.items() if text is not None}
    for key in strings(what, value):
        if "=" in key or "\0" in key + value[key]:
            raise InvalidError(f"{what}: {key!r} cannot be set: a name has no '=', and neither has a NUL byte")
    return dict(value or {})


def environment_of(name: str | None) -> str:
    """The value of `environment_name=`; empty for the environment that is used by default."""
    if name is not None and (not isinstance(name, str) or not name):
        raise InvalidError(f"environment_name is the name of an environment, not {name!r}")
    return name or ""
