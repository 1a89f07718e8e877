"""A signature becomes options."""

from __future__ import annotations

import datetime
from typing import Literal

import click
import pytest

import inrush
from inrush.cli.programs.entries import choose
from inrush.cli.programs.options import parse
from inrush.errors import InvalidError


def main(prompt: str, n: int = 3, temperature: float = 0.5, fast: bool = False, tag: str | None = None): ...


def given(*args: str, function=main):
    return parse(function, args, "main")


def test_each_option_has_the_type_of_its_parameter():
    assert given("--prompt", "hi", "--n", "7", "--temperature", "1", "--fast", "--tag", "x") == (
        (),
        {"prompt": "hi", "n": 7, "temperature": 1.0, "fast": True, "tag": "x"},
    )


def test_defaults_are_those_of_the_signature():
    assert given("--prompt", "hi")[1] == {"prompt": "hi", "n": 3, "temperature": 0.5, "fast": False, "tag": None}


def test_a_parameter_without_a_default_is_required():
    with pytest.raises(click.MissingParameter, match="prompt"):
        given()


def test_a_value_of_the_wrong_type_is_refused_by_the_name_of_its_option():
    with pytest.raises(click.BadParameter, match="seven") as caught:
        given("--prompt", "hi", "--n", "seven")
    assert caught.value.param is not None
    assert caught.value.param.name == "n"


def test_names_are_taken_with_dashes_and_with_underscores():
    def train(batch_size: int): ...

    assert (
        given("--batch-size", "4", function=train)
        == given("--batch_size", "4", function=train)
        == ((), {"batch_size": 4})
    )


def test_a_boolean_can_be_switched_off():
    def run(checked: bool = True): ...

    assert given("--no-checked", function=run)[1] == {"checked": False}


def test_an_arglist_takes_everything_as_it_is():
    def run(*arglist): ...

    assert given("--any", "thing", "-x", function=run) == (("--any", "thing", "-x"), {})


def test_without_annotations_the_defaults_tell_the_type():
    def run(name, n=3): ...

    assert given("--name", "a", "--n", "4", function=run)[1] == {"name": "a", "n": 4}


def test_a_parameter_that_no_command_line_can_give_keeps_its_default():
    def run(n: int = 1, table: dict[str, int] | None = None): ...

    assert given("--n", "2", function=run)[1] == {"n": 2}


def test_a_required_parameter_that_no_command_line_can_give_is_refused_by_name():
    def run(table: dict[str, int]): ...

    with pytest.raises(InvalidError, match=r"'table'.*arglist"):
        given(function=run)


def test_dates_and_choices_are_understood():
    def run(since: datetime.datetime, kind: Literal["fast", "slow"] = "fast"): ...

    expected = {"since": datetime.datetime(2026, 1, 2), "kind": "slow"}
    assert given("--since", "2026-01-02", "--kind", "slow", function=run)[1] == expected
    with pytest.raises(click.BadParameter, match="medium"):
        given("--since", "2026-01-02", "--kind", "medium", function=run)


def test_a_method_takes_the_parameters_of_its_class_too():
    class Greeter:
        greeting: str = inrush.parameter()
        times: int = inrush.parameter(default=1)

        @inrush.method()
        def greet(self, name: str, times: int = 5) -> None: ...

    app = inrush.App("options")
    app.cls(serialized=True)(Greeter)
    entry = choose(app, "Greeter.greet", "program.py")
    expected = {"name": "you", "greeting": "hi", "times": 5}
    assert entry.arguments(["--name", "you", "--greeting", "hi"])[1] == expected
    with pytest.raises(click.MissingParameter, match="greeting"):
        entry.arguments(["--name", "you"])


def test_help_is_shown_and_nothing_runs(capsys):
    with pytest.raises(click.exceptions.Exit) as caught:
        given("--help")
    assert caught.value.exit_code == 0
    assert "--temperature" in capsys.readouterr().out
