"""When a failed input is tried again, and when it is given up."""

from __future__ import annotations

import pytest

from inrush.core.calls.retry import LOSSES_MAX, SHARED_CRASHES_MAX, End, delay_s, next_try
from inrush.core.model.calls import Tries
from inrush.wire import Retries, Status

NEVER = Retries()
TWICE = Retries(max_retries=2, initial_delay_s=0.5, backoff_coefficient=3.0, max_delay_s=1.2)


def delays(policy: Retries, end: End, kind: str = "map") -> list[float]:
    """The delays before each further try, until it is given up."""
    found: list[float] = []
    tries = Tries()
    while (verdict := next_try(policy, kind, tries, end)).delay_s is not None:
        found.append(verdict.delay_s)
        tries = verdict.tries
    return found


@pytest.mark.parametrize(
    "status", [Status.ERROR, Status.TIMEOUT, Status.CRASHED, Status.OUT_OF_MEMORY, Status.INTERNAL]
)
def test_the_nth_retry_waits_as_the_user_said(status: Status) -> None:
    assert delays(TWICE, End(status)) == [0.5, 1.2]
    assert delays(NEVER, End(status)) == []


def test_a_lost_node_costs_no_retry_but_not_for_ever() -> None:
    assert delays(NEVER, End(Status.LOST)) == [0.0] * LOSSES_MAX
    tries = next_try(TWICE, "map", Tries(), End(Status.LOST)).tries
    assert tries.retries == 0


@pytest.mark.parametrize("status", [Status.CRASHED, Status.OUT_OF_MEMORY])
def test_who_ran_beside_the_culprit_is_tried_again_free_of_charge_so_often(status: Status) -> None:
    assert delays(NEVER, End(status, alone=False)) == [0.0] * SHARED_CRASHES_MAX
    assert delays(TWICE, End(status, alone=False)) == [0.0] * SHARED_CRASHES_MAX + [0.5, 1.2]


@pytest.mark.parametrize("kind", ["gen", "web"])
@pytest.mark.parametrize("status", list(Status))
def test_what_streams_is_never_tried_twice(kind: str, status: Status) -> None:
    assert delays(TWICE, End(status, alone=False), kind) == []


@pytest.mark.parametrize("status", [Status.OK, Status.CANCELLED])
def test_what_is_final_is_final(status: Status) -> None:
    assert delays(TWICE, End(status)) == []


def test_a_delay_is_finite_however_often_it_was_tried() -> None:
    policy = Retries(max_retries=10**6, backoff_coefficient=10.0, max_delay_s=60.0)
    assert delay_s(policy, 10**6) == 60.0


def test_giving_up_says_why_where_user_code_does_not() -> None:
    assert next_try(NEVER, "map", Tries(), End(Status.ERROR)).why == ""
    assert "3 times" in next_try(TWICE, "map", Tries(retries=2), End(Status.TIMEOUT)).why
    assert str(LOSSES_MAX + 1) in next_try(NEVER, "map", Tries(losses=LOSSES_MAX), End(Status.LOST)).why
