"""State tables: `dict[(state, event)] -> state`. A change that is not in the table must not happen."""

from __future__ import annotations

from collections.abc import Mapping

from inrush.errors import InternalError

Table = Mapping[tuple[str, str], str]


class IllegalTransitionError(InternalError):
    """A state machine met an event that its table does not allow in that state. This is always a defect of inrush,
    never of user code."""


def follow(table: Table, kind: str, id: str, state: str, event: str) -> str:
    """The state after `event`. Raises `IllegalTransitionError`, which names the kind, the id, the state and the
    event."""
    after = table.get((state, event))
    if after is None:
        raise IllegalTransitionError(f"{kind} {id} is {state}, where {event!r} cannot happen")
    return after


def states(table: Table) -> tuple[str, ...]:
    """Every state of a table, in the order in which they are first mentioned."""
    return tuple(dict.fromkeys(state for (before, _), after in table.items() for state in (before, after)))
