"""Following a state table: tables are data, `dict[(state, event)] -> state`, and what is not in the table must not
happen."""

from __future__ import annotations

from collections.abc import Mapping

from inrush.errors import InternalError

Table = Mapping[tuple[str, str], str]


class IllegalTransitionError(InternalError):
    """A state machine met an event that its table does not allow in that state: a bug of ours, never of the user's."""


def follow(table: Table, kind: str, id: str, state: str, event: str) -> str:
    """The state after `event`. Raises `IllegalTransitionError` naming kind and id of what it is, state and event."""
    after = table.get((state, event))
    if after is None:
        raise IllegalTransitionError(f"{kind} {id} is {state}, where {event!r} cannot happen")
    return after


def states(table: Table) -> tuple[str, ...]:
    """Every state of a table, in the order of first mention."""
    return tuple(dict.fromkeys(state for (before, _), after in table.items() for state in (before, after)))
