"""`.remote`, `.remote_gen` and `.local`, in real containers."""

from __future__ import annotations

import asyncio
import threading
from types import ModuleType
from typing import Any

import pytest

import inrush
from inrush import errors
from inrush.version import __version__, minor


def test_a_call_returns_what_the_function_returned(calling: ModuleType) -> None:
    assert calling.square.remote(7) == 49
    assert calling.square.remote(7, offset=1) == 50


def test_an_async_function_is_called_the_same_way(calling: ModuleType) -> None:
    assert calling.later.remote(1) == 2


async def test_many_calls_are_awaited_at_once(calling: ModuleType) -> None:
    assert await asyncio.gather(*[calling.square.remote.aio(i) for i in range(100)]) == [i * i for i in range(100)]


def test_calls_from_many_threads_do_not_mix(calling: ModuleType) -> None:
    got: dict[int, int] = {}
    threads = [threading.Thread(target=lambda n=n: got.update({n: calling.square.remote(n)})) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {n: n * n for n in range(40)}


def test_objects_of_the_programs_own_classes_cross_both_ways(calling: ModuleType) -> None:
    tag = calling.retag.remote(calling.Tag("a"))
    assert isinstance(tag, calling.Tag)
    assert tag.text == "A"


def test_an_exception_arrives_as_its_own_type_with_the_traceback_from_there(calling: ModuleType) -> None:
    with pytest.raises(calling.Refused) as raised:
        calling.fail.remote(3)
    assert raised.value.code == 3
    assert 'raise Refused(code, "as asked")' in str(raised.value.__cause__)


def test_its_traceback_here_has_no_frames_of_the_sdk_but_one(calling: ModuleType) -> None:
    with pytest.raises(calling.Refused) as raised:
        calling.fail.remote(3)
    assert [entry.name for entry in raised.traceback][1:] == ["__call__"]


def test_a_server_of_another_minor_version_is_told_with_what_to_install_where(
    connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inrush.client._connection.__version__", "99.0.0")
    with pytest.raises(
        errors.VersionError, match=r"inrush==0\.1\.\*'\), or have inrush 99\.0\.0 installed where"
    ) as raised:
        inrush.Function.from_name("a", "f").hydrate()
    assert "server stop" not in str(raised.value)


def test_versions_work_together_within_a_minor_version(connected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inrush.client._connection.__version__", f"{minor(__version__)}.99")
    with pytest.raises(errors.NotFoundError):
        inrush.Function.from_name("a", "f").hydrate()


def test_a_generator_yields_as_it_runs(calling: ModuleType) -> None:
    assert list(calling.count.remote_gen(300)) == list(range(300))


async def test_a_generator_can_be_iterated_asynchronously(calling: ModuleType) -> None:
    assert [x async for x in calling.count.remote_gen.aio(70)] == list(range(70))


def test_a_generator_that_raises_first_gives_what_it_yielded(calling: ModuleType) -> None:
    stream = calling.stumble.remote_gen(5)
    assert next(stream) == 5
    with pytest.raises(calling.Refused):
        next(stream)


def test_a_generator_can_be_left_early(calling: ModuleType) -> None:
    stream = calling.count.remote_gen(10**9)
    assert [next(stream) for _ in range(3)] == [0, 1, 2]
    stream.close()
    assert calling.square.remote(2) == 4


def test_calling_a_generator_by_remote_names_remote_gen(calling: ModuleType) -> None:
    with pytest.raises(errors.InvalidError, match="remote_gen"):
        calling.count.remote(3)


def test_an_argument_that_does_not_pickle_is_named(calling: ModuleType) -> None:
    with pytest.raises(errors.SerializationError, match=r"argument 'offset' of square \(a lock\)"):
        calling.square.remote(1, offset=threading.Lock())


def test_large_arguments_and_results_travel_as_blobs(calling: ModuleType) -> None:
    data = bytes(range(256)) * 40_000
    assert calling.measure.remote(data) == data[::-1]


def test_an_argument_over_the_limit_is_refused(calling: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INRUSH_MAX_PAYLOAD_MIB", "1")
    with pytest.raises(errors.RequestSizeError, match="limit is 1 MiB"):
        calling.measure.remote(bytes(2 * 1024 * 1024))


def test_code_in_a_container_knows_where_it_is(calling: ModuleType) -> None:
    local, app, call, input = calling.where.remote()
    assert (local, app) == (False, "calling")
    assert call.startswith("ca-")
    assert input.startswith(call)
    assert inrush.is_local()
    assert inrush.current_input_id() is None


def test_a_function_calls_others_from_its_container(calling: ModuleType) -> None:
    assert calling.through.remote(3) == 10 + 14


def test_environment_and_secrets_are_there(calling: ModuleType) -> None:
    assert calling.environment.remote() == {"COLOUR": "blue", "KEY": "hidden"}


def test_local_runs_here(calling: ModuleType) -> None:
    assert calling.square.local(3) == 9


def test_a_function_of_an_app_that_does_not_run_says_what_to_do(connected: Any) -> None:
    app = inrush.App("idle")

    @app.function(serialized=True)
    def f() -> None: ...

    with pytest.raises(errors.InvalidError, match=r"app\.run\(\)"):
        f.remote()


def test_calling_without_remote_says_how_to_call() -> None:
    app = inrush.App("idle")

    @app.function(serialized=True)
    def f() -> None: ...

    with pytest.raises(errors.InvalidError, match=r"f\.remote"):
        f()


def test_a_cancelled_task_cancels_its_call(calling: ModuleType) -> None:
    async def leave() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(calling.doze.remote.aio(20), 0.3)

    asyncio.run(leave())
    assert calling.square.remote(3) == 9


def test_a_forked_child_makes_its_own_link(calling: ModuleType) -> None:
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_square_in_child, [4, 5]) == [16, 25]
    assert calling.square.remote(6) == 36


def _square_in_child(x: int) -> int:
    import calling

    return calling.square.remote(x)
