"""`inspect.signature` of what is made of a function shows the function's own."""

from __future__ import annotations

import inspect

import pytest

import inrush
from inrush.client._dual import Dual, DualIter

app = inrush.App("signatures")


@app.function()
def joined(x: int, *, by: str = "-") -> list[str]:
    return [by] * x


@app.function()
def counted(n: int) -> object:
    yield from range(n)


@app.cls()
class Model:
    size: int = inrush.parameter(default=3)

    @inrush.method()
    def told(self, prompt: str, loud: bool = False) -> str:
        return prompt


@pytest.mark.parametrize("verb", ["remote", "spawn", "remote_gen", "local"])
def test_what_passes_arguments_on_shows_those_of_the_function(verb: str) -> None:
    assert list(inspect.signature(getattr(joined, verb)).parameters) == ["x", "by"]
    assert str(inspect.signature(getattr(joined, verb))) == "(x: 'int', *, by: 'str' = '-') -> 'list[str]'"
    assert list(inspect.signature(getattr(Model().told, verb)).parameters) == ["prompt", "loud"]
    assert list(inspect.signature(getattr(Model(size=4).told, verb)).parameters) == ["prompt", "loud"]


def test_what_has_parameters_of_its_own_shows_them() -> None:
    assert next(iter(inspect.signature(joined.map).parameters)) == "input_iterators"
    assert list(inspect.signature(joined.hydrate).parameters) == ["client"]
    assert list(inspect.signature(counted.remote_gen).parameters) == ["n"]


def test_functions_and_methods_show_the_signature_of_the_user() -> None:
    assert list(inspect.signature(joined).parameters) == ["x", "by"]
    assert str(inspect.signature(Model().told)) == "(prompt: 'str', loud: 'bool' = False) -> 'str'"
    assert list(inspect.signature(Model(size=4).told).parameters) == ["prompt", "loud"]
    assert (joined.local(2, by="+"), Model().told.local("a")) == (["+", "+"], "a")


def test_what_was_looked_up_by_name_takes_anything_and_classes_keep_their_own() -> None:
    assert str(inspect.signature(inrush.Function.from_name("a", "f").remote)).startswith("(*args")
    assert (
        list(inspect.signature(Dual).parameters) == list(inspect.signature(DualIter).parameters) == ["function", "doc"]
    )
