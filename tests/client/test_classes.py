"""Classes, their parameters and methods, in real containers."""

from __future__ import annotations

from types import ModuleType

import pytest

import inrush
from inrush import errors
from running_server import poll


def test_methods_run_after_the_enter_hooks(calling: ModuleType) -> None:
    assert calling.Greeter().greet.remote("you") == "hello you"


def test_parameters_reach_the_object(calling: ModuleType) -> None:
    assert calling.Greeter(greeting="hi", times=2).greet.remote("you") == "hi hi you"


def test_each_set_of_parameters_has_containers_of_its_own(calling: ModuleType) -> None:
    hi, ho = calling.Greeter(greeting="hi"), calling.Greeter(greeting="ho")
    assert hi.pid.remote()[0] != ho.pid.remote()[0]


def test_the_same_parameters_written_otherwise_are_the_same_containers(calling: ModuleType) -> None:
    assert calling.Greeter(greeting="hi", times=1).pid.remote() == calling.Greeter(greeting="hi").pid.remote()


def test_methods_are_mapped_and_iterated(calling: ModuleType) -> None:
    greeter = calling.Greeter()
    assert list(greeter.greet.map(["a", "b"])) == ["hello a", "hello b"]
    assert "".join(greeter.letters.remote_gen("z")) == "hello z"


def test_a_method_calls_its_sisters_in_every_way(calling: ModuleType) -> None:
    assert calling.Greeter(greeting="hey").twice.remote("a") == ["hey a"] * 3


def test_local_makes_the_object_here_and_runs_its_hooks(calling: ModuleType) -> None:
    assert calling.Greeter(greeting="hi").greet.local("me") == "hi me"


def test_an_instance_can_be_an_argument(calling: ModuleType) -> None:
    import pickle

    again = pickle.loads(pickle.dumps(calling.Greeter(greeting="yo")))
    assert isinstance(again, type(calling.Greeter()))


def test_attributes_and_helpers_of_an_instance_are_those_of_an_object_that_is_made_here(calling: ModuleType) -> None:
    greeter = calling.Greeter(greeting="hi")
    with pytest.raises(AttributeError, match="there after a local call, and in containers"):
        _ = greeter.made
    assert greeter.greet.local("me") == "hi me"
    assert greeter.made == "hi "
    with pytest.warns(FutureWarning):
        old = calling.Old("ab")
    assert (old.word, old.helper(), old.shared) == ("ab", "abab", "of the class")
    old.times = 3
    assert (old.times, old.helper(), old.told.local()) == (3, "ababab", ("ababab", None))
    with pytest.raises(AttributeError, match=r"make another instance, Greeter\(greeting=…\)"):
        greeter.greeting = "ho"
    with pytest.raises(AttributeError, match="did you mean helper"):
        _ = old.helpr
    with pytest.raises(AttributeError, match="no_such"):
        _ = old.broken


def test_arguments_of_a_constructor_reach_the_object_with_a_warning(calling: ModuleType) -> None:
    with pytest.warns(FutureWarning, match=r"declare `word: str = inrush\.parameter\(\)`") as warned:
        old = calling.Old("ab", ["x", "y"], times=3)
    assert warned[0].filename == __file__
    assert old.told.remote() == old.told.local() == ("ababab", ["x", "y"])
    assert old.told_twice.remote() == [("ababab", ["x", "y"])] * 2
    with pytest.raises(TypeError, match="missing a required argument: 'word'"):
        calling.Old()
    with pytest.raises(TypeError, match="colour"):
        calling.Old("ab", colour="red")


def test_the_containers_of_an_instance_are_scaled(calling: ModuleType) -> None:
    greeter = calling.Greeter(greeting="scaled")
    greeter.update_autoscaler(min_containers=1)
    try:
        poll(lambda: greeter.greet.get_current_stats().num_total_runners == 1, 30)
    finally:
        greeter.update_autoscaler(min_containers=0)


def test_a_deployed_class_is_found_by_name(calling: ModuleType) -> None:
    calling.app.include(inrush.App("nothing"))
    deployed = inrush.App("deployed-greeter").include(calling.app)
    deployed.deploy()
    try:
        greeter = inrush.Cls.from_name("deployed-greeter", "Greeter")
        assert greeter(greeting="ahoy").greet.remote("a") == "ahoy a"
        square = inrush.Function.from_name("deployed-greeter", "square")
        assert square.hydrate().remote(4) == 16
    finally:
        deployed.stop()


def test_a_name_that_is_not_deployed_is_not_found(calling: ModuleType) -> None:
    with pytest.raises(errors.NotFoundError, match="no-such-app"):
        inrush.Function.from_name("no-such-app", "f").remote()


def test_wrong_parameters_are_refused_here() -> None:
    from . import conftest

    greeter = conftest.program("calling").Greeter
    with pytest.raises(errors.InvalidError, match="no parameter colour"):
        greeter(colour="red")
    with pytest.raises(errors.InvalidError, match="times is of type int"):
        greeter(times="3")
    with pytest.raises(errors.InvalidError, match="by name"):
        greeter("hi")
    with pytest.raises(errors.InvalidError, match="the limit is 16384"):
        greeter(greeting="x" * 20_000)


def test_a_constructor_that_cannot_be_given_its_arguments_is_refused() -> None:
    with pytest.raises(errors.InvalidError, match=r"has parameters and an __init__ that takes arguments"):

        @inrush.App("a").cls()
        class Both:
            size: int = inrush.parameter()

            def __init__(self, model: str) -> None: ...

    with pytest.raises(errors.InvalidError, match="by position only"):

        @inrush.App("a").cls()
        class Positional:
            def __init__(self, model: str, /) -> None: ...


def test_a_parameter_of_another_type_is_refused() -> None:
    with pytest.raises(errors.InvalidError, match="str, int, bool or bytes"):

        @inrush.App("a").cls()
        class Wrong:
            ratio: float = inrush.parameter()


def test_a_missing_parameter_is_named() -> None:
    @inrush.App("a").cls()
    class Needs:
        model: str = inrush.parameter()

    with pytest.raises(errors.InvalidError, match="needs its parameter model"):
        Needs()
