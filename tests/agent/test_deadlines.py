"""The agent ends containers whose attempts ignore their timeout. The clock is simulated, so no test waits."""

from __future__ import annotations

from inrush.agent.containers.deadlines import SLACK_S, Deadlines

LIMIT_S = 10.0 + SLACK_S


def test_an_attempt_expires_its_timeout_and_the_slack_after_it_was_sent() -> None:
    deadlines = Deadlines(timeout_s=10.0, max_inputs=1)
    deadlines.add("ca-1", (0,), now=100.0)
    assert deadlines.expired(100.0 + LIMIT_S - 0.1) == []
    assert deadlines.expired(100.0 + LIMIT_S) == [("ca-1", 0)]


def test_an_attempt_behind_others_starts_its_clock_when_its_turn_comes() -> None:
    deadlines = Deadlines(timeout_s=10.0, max_inputs=1)
    deadlines.add("ca-1", (0, 1), now=0.0)
    deadlines.remove("ca-1", (0,), now=9.0)
    assert deadlines.expired(9.0 + LIMIT_S - 0.1) == []
    assert deadlines.expired(9.0 + LIMIT_S) == [("ca-1", 1)]


def test_answers_out_of_order_leave_the_others_clocks_alone() -> None:
    deadlines = Deadlines(timeout_s=10.0, max_inputs=2)
    deadlines.add("ca-1", (0, 1, 2, 3), now=0.0)
    deadlines.remove("ca-1", (2,), now=1.0)
    deadlines.remove("ca-1", (1,), now=2.0)
    assert deadlines.attempts() == [("ca-1", 0), ("ca-1", 3)]
    assert deadlines.expired(LIMIT_S) == [("ca-1", 0)]
    assert deadlines.expired(2.0 + LIMIT_S) == [("ca-1", 0), ("ca-1", 3)]


def test_answers_for_inputs_that_were_never_sent_change_nothing() -> None:
    deadlines = Deadlines(timeout_s=10.0, max_inputs=1)
    deadlines.add("ca-1", (0, 1), now=0.0)
    deadlines.remove("ca-2", tuple(range(1000)), now=1.0)
    assert len(deadlines) == 2
    deadlines.remove("ca-1", (0, 1), now=1.0)
    assert len(deadlines) == 0
    assert deadlines.expired(10 * LIMIT_S) == []


def test_a_guest_that_keeps_one_input_and_answers_the_others_costs_no_memory() -> None:
    deadlines = Deadlines(60.0, 1)
    deadlines.add("ca-1", (0,), 0.0)
    for index in range(1, 10_000):
        deadlines.add("ca-1", (index,), 0.0)
        assert deadlines.remove("ca-1", (index,), 0.0) == []
    assert len(deadlines._order) < 1000
    assert deadlines.attempts() == [("ca-1", 0)]
