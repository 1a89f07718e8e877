"""Calls that the server owns."""

from __future__ import annotations

from types import ModuleType

import pytest

import inrush
from inrush import errors
from inrush.client import _link
from inrush.client.call import AHEAD_RESULTS


def test_a_spawned_call_is_found_by_its_id(calling: ModuleType) -> None:
    call = calling.square.spawn(9)
    again = inrush.FunctionCall.from_id(call.object_id)
    assert call.get(timeout=60) == 81
    assert again.get(timeout=60) == 81
    assert again.num_inputs() == 1


async def test_it_is_spawned_and_awaited_asynchronously(calling: ModuleType) -> None:
    call = await calling.square.spawn.aio(5)
    assert await call.get.aio(timeout=60) == 25


def test_a_result_that_is_not_there_yet_is_a_timeout(calling: ModuleType) -> None:
    call = calling.doze.spawn(20)
    with pytest.raises(TimeoutError, match=f"{call.object_id} has no result"):
        call.get(timeout=0)
    with pytest.raises(errors.TimeoutError):
        call.get(timeout=0.2)
    call.cancel()


def test_a_cancelled_call_raises_so(calling: ModuleType) -> None:
    call = calling.doze.spawn(20)
    call.cancel()
    with pytest.raises(errors.CancelledError):
        call.get(timeout=60)


def test_its_exception_is_raised_by_get(calling: ModuleType) -> None:
    with pytest.raises(calling.Refused):
        calling.fail.spawn(4).get(timeout=60)


def test_gather_waits_for_all(calling: ModuleType) -> None:
    assert inrush.FunctionCall.gather(*[calling.square.spawn(x) for x in range(5)]) == [0, 1, 4, 9, 16]


def test_a_spawned_map_gives_results_by_index_and_in_order(calling: ModuleType) -> None:
    call = calling.square.spawn_map(range(500))
    assert call.num_inputs() == 500
    assert call.get(timeout=60, index=499) == 499 * 499
    assert list(call.iter(start=490)) == [x * x for x in range(490, 500)]


def test_results_of_a_large_map_are_fetched_as_they_are_taken(calling: ModuleType) -> None:
    call = calling.square.spawn_map(range(2000))
    assert call.get(timeout=60, index=1999) == 1999 * 1999
    results = call.iter()
    assert next(results) == 0
    waiting = _link._link.calls[call.object_id]
    assert [len(wanted) for wanted in waiting.listeners.values()] == [AHEAD_RESULTS]
    taken = 1
    for taken, value in enumerate(results, 1):
        assert value == taken * taken
        assert sum(len(box) for box in waiting.listeners) <= AHEAD_RESULTS
    assert taken == 1999


def test_an_unknown_call_is_not_found(calling: ModuleType) -> None:
    with pytest.raises(errors.NotFoundError):
        inrush.FunctionCall.from_id("ca-nobody").get(timeout=30)


def test_what_is_no_call_id_is_refused() -> None:
    with pytest.raises(errors.InvalidError, match="ca-"):
        inrush.FunctionCall.from_id("fn-1")
