"""Decorators where they would have no effect are refused, whichever pair of them it is."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

import inrush
from inrush.errors import InvalidError

MARKS: dict[str, Callable[[], Any]] = {
    "concurrent": lambda: inrush.concurrent(max_inputs=2),
    "clustered": lambda: inrush.clustered(2),
    "method": inrush.method,
    "enter": inrush.enter,
    "exit": inrush.exit,
    "fastapi_endpoint": inrush.fastapi_endpoint,
    "asgi_app": inrush.asgi_app,
    "wsgi_app": inrush.wsgi_app,
    "local_entrypoint": lambda: inrush.App("other").local_entrypoint(),
    "function": lambda: inrush.App("other").function(),
    "cls": lambda: inrush.App("other").cls(),
}


def plain() -> None: ...


def registered() -> dict[str, Any]:
    app = inrush.App("reversed")

    class C:
        @inrush.method()
        def m(self) -> None: ...

    return {"function": app.function()(plain), "cls": app.cls()(C), "local_entrypoint": app.local_entrypoint()(plain)}


@pytest.mark.parametrize("below", ["function", "cls", "local_entrypoint"])
@pytest.mark.parametrize("mark", MARKS)
def test_a_decorator_above_one_that_registers_is_refused(mark: str, below: str) -> None:
    with pytest.raises(InvalidError):
        MARKS[mark]()(registered()[below])


@pytest.mark.parametrize("mark", ["enter", "exit", "method"])
def test_what_belongs_on_methods_is_refused_on_functions(mark: str) -> None:
    def fresh() -> None: ...

    with pytest.raises(InvalidError, match=mark):
        inrush.App("a").function()(MARKS[mark]()(fresh))


@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize("mark", ["concurrent", "clustered"])
def test_what_belongs_on_classes_or_functions_is_refused_on_methods(mark: str, outer: bool) -> None:
    with pytest.raises(InvalidError, match=mark):

        @inrush.App("a").cls()
        class C:
            if outer:

                @MARKS[mark]()
                @inrush.method()
                def above(self) -> None: ...
            else:

                @inrush.method()
                @MARKS[mark]()
                def below(self) -> None: ...


@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize("kind", [staticmethod, classmethod, property])
@pytest.mark.parametrize("mark", ["method", "enter", "exit", "asgi_app"])
def test_methods_and_hooks_take_self(mark: str, kind: Any, outer: bool) -> None:
    with pytest.raises(InvalidError, match=kind.__name__):

        @inrush.App("a").cls()
        class C:
            if outer:

                @MARKS[mark]()
                @kind
                def inside(self) -> None: ...
            else:

                @kind
                @MARKS[mark]()
                def outside(self) -> None: ...


@pytest.mark.parametrize("mark", ["method", "enter", "exit", "clustered", "asgi_app", "fastapi_endpoint"])
def test_what_belongs_on_functions_is_refused_on_classes(mark: str) -> None:
    class C: ...

    with pytest.raises(InvalidError):
        MARKS[mark]()(C)


@pytest.mark.parametrize("verb", ["remote", "spawn", "map", "starmap", "for_each", "spawn_map", "remote_gen"])
def test_endpoints_are_not_called(verb: str) -> None:
    app = inrush.App("web")

    @inrush.asgi_app()
    def web() -> None: ...

    served = app.function()(web)

    @app.cls()
    class C:
        @inrush.fastapi_endpoint()
        def page(self) -> None: ...

    for endpoint in (served, C().page):
        with pytest.raises(InvalidError, match="endpoint"):
            list(getattr(endpoint, verb)([]) or [])


@pytest.mark.parametrize("given", [(), ([],), ((), [])])
def test_an_install_of_nothing_is_no_step(given: tuple[Any, ...]) -> None:
    image = inrush.Image.debian_slim()
    for method in ("pip_install", "uv_pip_install", "apt_install", "run_commands"):
        assert getattr(image, method)(*given) is image


def test_a_method_keeps_its_instance_when_it_travels() -> None:
    handle = inrush.Cls.from_name("app", "M")(size="large").which
    again = pickle.loads(pickle.dumps(handle))
    assert again.name == "M.which"
    assert again._of[0]._values == {"size": "large"}


def test_a_parameter_may_be_called_self_in_calls() -> None:
    app = inrush.App("odd")

    @app.function()
    def g(x: int, **kw: Any) -> Any:
        return x, kw

    assert g.local(1, self=2) == (1, {"self": 2})
    with pytest.raises(InvalidError, match="not running"):
        g.remote(1, self=2)
