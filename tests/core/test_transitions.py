"""State tables: closed, reachable, with the ends they should have."""

from __future__ import annotations

import pytest

from inrush.core.model.calls import CALL, INPUT, Call
from inrush.core.model.containers import CONTAINER, Container
from inrush.core.model.transitions import IllegalTransitionError, Table, follow, states

TABLES = {"call": (CALL, "open"), "input": (INPUT, "unknown"), "container": (CONTAINER, "starting")}
ENDS = {"call": {"done"}, "input": {"done"}, "container": {"ended"}}


def reachable(table: Table, start: str) -> set[str]:
    found = {start}
    while more := {after for (before, _), after in table.items() if before in found} - found:
        found |= more
    return found


@pytest.mark.parametrize("name", TABLES)
def test_every_state_can_be_reached_from_the_first(name: str) -> None:
    table, start = TABLES[name]
    assert reachable(table, start) == set(states(table))


@pytest.mark.parametrize("name", TABLES)
def test_only_the_last_state_has_no_way_out_and_every_state_leads_to_it(name: str) -> None:
    table, _ = TABLES[name]
    ends = {state for state in states(table) if not any(before == state for before, _ in table)}
    assert ends == ENDS[name]
    assert all(ENDS[name] <= reachable(table, state) for state in states(table))


def test_what_the_table_does_not_allow_raises_and_names_it() -> None:
    with pytest.raises(IllegalTransitionError, match=r"container co-1 is ended, where 'ready' cannot happen"):
        follow(CONTAINER, "container", "co-1", "ended", "ready")


def test_a_call_that_is_done_cannot_be_cancelled() -> None:
    call = Call("ca-1", "fn-1", "map", 0, False)
    call.turn("end")
    call.turn("finish")
    with pytest.raises(IllegalTransitionError):
        call.turn("cancel")


def test_a_container_that_ended_does_not_become_ready() -> None:
    container = Container("co-1", "fn-1", "no-1", 125, 128, "", (), 0.0)
    container.turn("ended")
    with pytest.raises(IllegalTransitionError):
        container.turn("ready")
