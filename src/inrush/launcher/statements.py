"""The schema of what templates, and the processes forked from them, say to the launcher. They run user code.

A statement of another type or beyond its bounds is malformed, and ends its template. A statement within the bounds
always fits into an answer to the agent, even after JSON has escaped its characters.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from inrush.launcher import orders

MAX_REPORT_BYTES = 256 * 1024
"""The longest report of a template, as the launcher writes it."""
MAX_PHASES = 64
"""The most phases that a forked process reports of its start."""
_MAX_THREADS = 1 << 22
_MAX_STATUS = 0xFFFF
_MAX_MS = 1e9


@dataclass(frozen=True, slots=True)
class Up:
    """The template is ready and has so many threads; `report` is for the agent."""

    threads: int
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the template cannot become ready."""

    error: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class SaysUp:
    """The template is ready."""

    up: Up


@dataclass(frozen=True, slots=True)
class SaysFailed:
    """The template will not be ready."""

    failed: Failure


@dataclass(frozen=True, slots=True)
class SaysExit:
    """The process that was ordered under this number has ended, with this wait status."""

    exit: int
    status: int


@dataclass(frozen=True, slots=True)
class SaysUnforked:
    """The process that was ordered under this number could not be forked."""

    unforked: int
    error: str


Statement = SaysUp | SaysFailed | SaysExit | SaysUnforked
_KINDS: dict[str, type[Statement]] = {"up": SaysUp, "failed": SaysFailed, "exit": SaysExit, "unforked": SaysUnforked}


def of_template(body: dict[str, Any]) -> Statement:
    """Decodes a message of a template. Raises `ValueError` or `Refused` if it is malformed."""
    kind = next((kind for name, kind in _KINDS.items() if name in body), None)
    if kind is None:
        raise ValueError("no known statement")
    statement = orders.decode(kind, body)
    match statement:
        case SaysUp(up):
            if not 0 < up.threads <= _MAX_THREADS:
                raise ValueError("an impossible number of threads")
            _check_report(up.report)
        case SaysExit(_, status):
            if not 0 <= status <= _MAX_STATUS:
                raise ValueError("an impossible wait status")
    return statement


def _check_report(report: dict[str, Any]) -> None:
    try:
        length = len(json.dumps(report, allow_nan=False))
    except RecursionError:
        raise ValueError("a report that is nested too deeply") from None
    if length > MAX_REPORT_BYTES:
        raise ValueError(f"a report of {length} bytes; it has at most {MAX_REPORT_BYTES}")


def phases(said: object) -> tuple[tuple[str, float], ...]:
    """The phases that a forked process reported; none if the report is malformed."""
    if not isinstance(said, list) or len(said) > MAX_PHASES or not all(_is_phase(each) for each in said):
        return ()
    return tuple((name[:40], float(ms)) for name, ms in said)


def _is_phase(said: object) -> bool:
    return (
        isinstance(said, list)
        and len(said) == 2
        and isinstance(said[0], str)
        and isinstance(said[1], int | float)
        and 0 <= said[1] <= _MAX_MS
    )
