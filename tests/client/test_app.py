"""Declaring, including, running and stopping apps."""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any

import pytest

import inrush
from inrush import errors
from inrush.client._output import use
from inrush.client._progress import Maps
from inrush.wire import Log, Progress, State, Web


def test_functions_are_registered_by_name() -> None:
    app = inrush.App("a")

    @app.function(name="other")
    def f() -> None: ...

    @app.cls()
    class C: ...

    @app.local_entrypoint()
    def main() -> int:
        return 3

    assert list(app.registered_functions) == ["other"]
    assert list(app.registered_classes) == ["C"]
    assert list(app.registered_entrypoints) == ["main"]
    assert main() == 3


def test_endpoints_are_listed() -> None:
    app = inrush.App("a")

    @app.function()
    @inrush.fastapi_endpoint(method="POST", label="there")
    def f() -> None: ...

    @app.cls()
    class C:
        @inrush.asgi_app()
        def site(self) -> None: ...

    assert app.registered_web_endpoints == ["f", "C.site"]
    assert f.mark.web == Web(kind="fastapi", label="there", method="POST")


def test_including_takes_over_and_warns_of_a_clash() -> None:
    one, other = inrush.App("one", tags={"a": "1"}), inrush.App("other", tags={"b": "2"})

    @other.function()
    def f() -> None: ...

    assert one.include(other).registered_functions == {"f": f}
    assert one.tags == {"a": "1", "b": "2"}
    one.include(other)

    @one.function(name="g")
    def mine() -> None: ...

    @other.function(name="g")
    def theirs() -> None: ...

    with pytest.warns(UserWarning, match="has a g already"):
        one.include(other)
    assert one.registered_functions["g"] is theirs


@pytest.mark.parametrize("bare", ["function", "cls", "local_entrypoint"])
def test_decorators_without_parentheses_say_so(bare: str) -> None:
    with pytest.raises(errors.InvalidError, match="with parentheses"):
        getattr(inrush.App("a"), bare)(lambda: None)


def test_methods_and_classes_in_the_wrong_place_say_where_they_go() -> None:
    app = inrush.App("a")
    with pytest.raises(errors.InvalidError, match=r"@app\.cls"):
        app.function()(type("C", (), {}))
    with pytest.raises(errors.InvalidError, match=r"@inrush\.method"):

        class C:
            @app.function()
            def f(self) -> None: ...


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a/b", 3])
def test_a_name_that_cannot_be_is_refused(name: Any) -> None:
    with pytest.raises(errors.InvalidError, match="name"):
        inrush.App(name)


def test_retries_are_refused_where_there_is_nothing_to_repeat() -> None:
    app = inrush.App("a")
    with pytest.raises(errors.InvalidError, match="yields"):

        @app.function(retries=2)
        def gen():  # type: ignore[no-untyped-def]
            yield 1

    with pytest.raises(errors.InvalidError, match="serves the web"):

        @app.function(retries=2)
        @inrush.fastapi_endpoint()
        def web() -> None: ...


def test_a_nested_function_says_that_it_can_be_serialized(connected: Any) -> None:
    app = inrush.App("nested")

    @app.function()
    def inner() -> None: ...

    with pytest.raises(errors.InvalidError, match="serialized=True"), app.run():
        pass


def test_a_serialized_function_needs_no_file(connected: Any) -> None:
    app = inrush.App("nested")
    offset = 10

    @app.function(serialized=True)
    def shifted(x: int) -> int:
        return x + offset

    with app.run():
        assert shifted.remote(1) == 11


def test_an_app_runs_once_at_a_time(calling: ModuleType) -> None:
    with pytest.raises(errors.InvalidError, match="runs already"), calling.app.run():
        pass


def test_after_the_block_its_functions_cannot_be_called(connected: Any) -> None:
    from . import conftest

    calling = conftest.program("calling")
    with calling.app.run():
        assert calling.app.app_id.startswith("ap-")
        assert calling.square.object_id.startswith("fn-")
    assert calling.app.app_id is None
    with pytest.raises(errors.InvalidError, match="not running"):
        calling.square.remote(1)


async def test_an_app_runs_in_an_async_block(connected: Any) -> None:
    from . import conftest

    calling = conftest.program("calling")
    async with calling.app.run():
        assert await calling.square.remote.aio(3) == 9


def test_a_deployed_app_is_looked_up_and_stopped(connected: Any) -> None:
    app = inrush.App("to-be-stopped")

    @app.function(serialized=True)
    def f() -> int:
        return 1

    app.deploy()
    assert f.remote() == 1
    inrush.App.lookup("to-be-stopped").stop()
    with pytest.raises(errors.NotFoundError):
        inrush.Function.from_name("to-be-stopped", "f").remote()
    with pytest.raises(errors.NotFoundError):
        inrush.App.lookup("never-was")


def test_an_app_without_a_name_is_not_deployed() -> None:
    with pytest.raises(errors.InvalidError, match="has a name"):
        inrush.App().deploy()


class Recorder:
    """An output that remembers, and tells when it has seen a text."""

    interactive = False

    def __init__(self, awaited: str) -> None:
        self.awaited = awaited
        self.seen = threading.Event()
        self.lines: list[Log] = []
        self.states: list[State] = []
        self.maps = Maps(lambda line: None, lambda lines: None)

    def log(self, line: Log) -> None:
        self.lines.append(line)
        if self.awaited in line.text:
            self.seen.set()

    def progress(self, told: Progress) -> None:
        return

    def state(self, told: State) -> None:
        self.states.append(told)

    def link(self, text: str) -> None:
        return


def test_what_containers_print_is_shown_with_its_call(connected: Any) -> None:
    from . import conftest

    calling = conftest.program("calling")
    shown = Recorder("hello from afar")
    with use(shown), calling.app.run():
        calling.say.remote("hello from afar")
        assert shown.seen.wait(60)
    line = next(line for line in shown.lines if "hello from afar" in line.text)
    assert line.stream == "stdout"
    assert line.call.startswith("ca-")
    assert any(state.kind == "container" for state in shown.states)


def test_stats_and_scaling_of_a_function(calling: ModuleType) -> None:
    assert calling.square.remote(1) == 1
    stats = calling.square.get_current_stats()
    assert stats.num_total_runners >= 1
    assert stats.backlog == 0
    calling.square.update_autoscaler(max_containers=2, scaledown_window=30)
    assert calling.square.remote(2) == 4
