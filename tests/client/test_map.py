"""`.map`, `.starmap` and `.for_each`, in real containers."""

from __future__ import annotations

import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from types import ModuleType

import pytest

from inrush import errors


def test_results_come_in_the_order_of_the_inputs(calling: ModuleType) -> None:
    assert list(calling.square.map(range(5000))) == [x * x for x in range(5000)]


def test_a_short_list_is_one_message(calling: ModuleType) -> None:
    assert list(calling.square.map([3, 1, 2])) == [9, 1, 4]


def test_no_inputs_give_no_results(calling: ModuleType) -> None:
    assert list(calling.square.map([])) == []
    assert list(calling.square.map(iter(()))) == []


def test_several_iterators_are_zipped_and_kwargs_are_the_same_for_all(calling: ModuleType) -> None:
    assert list(calling.square.map([1, 2, 3], (x for x in (10, 20)))) == [11, 24]
    assert list(calling.square.map([1, 2], kwargs={"offset": 5})) == [6, 9]


def test_starmap_takes_tuples(calling: ModuleType) -> None:
    assert list(calling.square.starmap([(1, 10), (2, 20)])) == [11, 24]


def test_unordered_results_are_all_there(calling: ModuleType) -> None:
    assert sorted(calling.square.map(range(3000), order_outputs=False)) == [x * x for x in range(3000)]


def test_the_first_exception_is_raised_and_ends_the_map(calling: ModuleType) -> None:
    with pytest.raises(ValueError, match="is even"):
        list(calling.odd_only.map(range(1, 1000)))


def test_exceptions_can_be_kept_as_results(calling: ModuleType) -> None:
    got = list(calling.odd_only.map([1, 2, 3], return_exceptions=True))
    assert got[0] == 1
    assert got[2] == 3
    assert isinstance(got[1], ValueError)


def test_for_each_raises_or_passes_over(calling: ModuleType) -> None:
    calling.odd_only.for_each([1, 2], ignore_exceptions=True)
    with pytest.raises(ValueError, match="2 is even"):
        calling.odd_only.for_each([1, 2])


def test_the_input_iterator_is_read_no_further_than_the_window(calling: ModuleType) -> None:
    read = 0

    def inputs() -> Iterator[int]:
        nonlocal read
        for x in itertools.count():
            read = x
            yield x

    results = calling.square.map(inputs())
    assert [next(results) for _ in range(10)] == [x * x for x in range(10)]
    results.close()
    assert read < 200_000


def test_inputs_of_a_slow_iterator_leave_at_once(calling: ModuleType) -> None:
    go_on = threading.Event()

    def inputs() -> Iterator[int]:
        yield 2
        yield 3
        assert go_on.wait(60), "the results of the first inputs did not come before the iterator went on"
        yield 4

    results = calling.square.map(inputs())
    assert [next(results), next(results)] == [4, 9]
    go_on.set()
    assert list(results) == [16]


def test_an_exception_of_the_input_iterator_is_raised_by_the_map(calling: ModuleType) -> None:
    def inputs() -> Iterator[int]:
        yield 1
        raise KeyError("the source ran dry")

    with pytest.raises(KeyError, match="ran dry"):
        list(calling.square.map(inputs()))


def test_an_input_that_does_not_pickle_is_named(calling: ModuleType) -> None:
    with pytest.raises(errors.SerializationError, match="argument 1 of square"):
        list(calling.square.map(iter([1, threading.Lock()])))


async def test_async_iterators_are_taken_by_the_async_face(calling: ModuleType) -> None:
    async def inputs() -> AsyncIterator[int]:
        for x in range(600):
            yield x

    assert [x async for x in calling.square.map.aio(inputs())] == [x * x for x in range(600)]


def test_async_iterators_are_refused_by_the_blocking_face(calling: ModuleType) -> None:
    async def inputs() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(errors.InvalidError, match=r"map\.aio"):
        list(calling.square.map(inputs()))


def test_large_inputs_go_through_a_map(calling: ModuleType) -> None:
    data = [bytes([n]) * 400_000 for n in range(30)]
    assert list(calling.measure.map(data)) == data
