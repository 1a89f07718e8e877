"""Mistakes of a program are told at once, with what was probably meant."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

import inrush
from inrush.client._arguments import check

app = inrush.App("mistaken")


@app.function()
def f(x: int, y: int = 0, *, z: int = 0) -> int:
    return x + y + z


@app.cls()
class M:
    LIMIT = 5
    size: str = inrush.parameter(default="small")

    @inrush.method()
    def go(self, n: int) -> int:
        return n


MISSPELLED: dict[str, tuple[Callable[[], Any], str]] = {
    "f.remot": (lambda: f.remot, "did you mean remote"),
    "app.depoy": (lambda: app.depoy, "did you mean deploy"),
    "Image.pip_instal": (lambda: inrush.Image.host().pip_instal, "did you mean pip_install"),
    "M.go": (lambda: M.go, r"write M\(\).go"),
    "M().gos": (lambda: M().gos, "did you mean go"),
    "M.from_nam": (lambda: M.from_nam, "did you mean from_name"),
    "inrush.Imag": (lambda: inrush.Imag, "did you mean Image"),
    "call.gett": (lambda: inrush.FunctionCall.from_id("ca-1").gett, "did you mean get"),
}


@pytest.mark.parametrize("name", MISSPELLED)
def test_a_misspelled_attribute_is_answered_with_the_nearest(name: str) -> None:
    ask, said = MISSPELLED[name]
    with pytest.raises(AttributeError, match=said):
        ask()


def test_what_is_no_near_miss_gets_no_suggestion_and_constants_are_there() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'qqqq'$"):
        f.qqqq  # noqa: B018
    assert M.LIMIT == 5
    assert not hasattr(f, "__wrapped_by_somebody__")


@pytest.mark.parametrize("verb", ["remote", "spawn"])
@pytest.mark.parametrize("args", [((), {}), ((1, 2, 3), {}), ((1,), {"w": 1}), ((1,), {"x": 1})], ids=str)
def test_arguments_are_checked_before_anything_is_sent(verb: str, args: tuple[Any, Any], connected: Any) -> None:
    with pytest.raises(TypeError, match=r"f\(x.*was called with"):
        getattr(f, verb)(*args[0], **args[1])
    with pytest.raises(TypeError, match=r"M.go\(self, n"):
        getattr(M().go, verb)()


def test_arguments_that_a_function_takes_pass() -> None:
    def plain(a, b=1): ...  # type: ignore[no-untyped-def]
    def several(*a, **k): ...  # type: ignore[no-untyped-def]
    def named(*, k): ...  # type: ignore[no-untyped-def]

    @functools.wraps(plain)
    def wrapped(*a): ...  # type: ignore[no-untyped-def]

    for function, args, kwargs in (
        (plain, (1,), {}),
        (plain, (1, 2), {}),
        (plain, (), {"a": 1}),
        (several, (1, 2, 3), {"x": 1}),
        (named, (), {"k": 1}),
        (wrapped, (), {}),
        (functools.partial(plain, 1), (), {}),
        (functools.partial(plain, a=1), (), {}),
        (print, (1, 2), {}),
        (None, (1,), {}),
    ):
        check("it", function, args, kwargs)
