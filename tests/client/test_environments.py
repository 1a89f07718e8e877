"""`environment_name=` chooses the environment in which a program looks up names."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

import inrush
from inrush.errors import InvalidError, NotFoundError


@pytest.fixture
def there(connected: Any) -> Iterator[str]:
    """An environment of one test."""
    name = f"there-{uuid.uuid4().hex[:8]}"
    assert connected.inrush("environment", "create", name).returncode == 0
    yield name
    assert connected.inrush("environment", "delete", name, "--yes").returncode == 0


def app_of(where: str) -> inrush.App:
    """An app that tells where it is."""
    app = inrush.App("placed", secrets=[inrush.Secret.from_name("place")])

    @app.function(serialized=True, name="where")
    def tell() -> tuple[str, str]:
        import os

        return os.environ["INRUSH_ENVIRONMENT"], os.environ["PLACE"]

    @app.cls(serialized=True)
    class Place:
        number: int = inrush.parameter(default=1)

        @inrush.method()
        def tell(self) -> tuple[str, int]:
            import os

            return os.environ["INRUSH_ENVIRONMENT"], self.number

    return app


def test_a_program_reaches_what_it_names_in_another_environment(connected: Any, there: str) -> None:
    for environment in ("main", there):
        words = ("secret", "create", "place", f"PLACE=in-{environment}", "-e", environment, "--force")
        assert connected.inrush(*words).returncode == 0
        app_of(environment).deploy(environment_name=environment)
    for environment in (None, "main", there):
        expected = environment or "main"
        where = inrush.Function.from_name("placed", "where", environment_name=environment)
        assert where.remote() == (expected, f"in-{expected}")
        again = pickle.loads(pickle.dumps(where))
        assert again.remote() == (expected, f"in-{expected}")
        place = inrush.Cls.from_name("placed", "Place", environment_name=environment)
        assert place(number=5).tell.remote() == (expected, 5)
        assert pickle.loads(pickle.dumps(place))().tell.remote() == (expected, 1)
    inrush.App.lookup("placed", environment_name=there).stop()
    with pytest.raises(NotFoundError, match="no app 'placed' is deployed"):
        inrush.Function.from_name("placed", "where", environment_name=there).hydrate()
    assert inrush.Function.from_name("placed", "where").remote()[0] == "main"
    inrush.App.lookup("placed").stop()


def test_an_app_runs_in_the_environment_that_is_named(connected: Any, there: str) -> None:
    connected.inrush("secret", "create", "place", "PLACE=x", "-e", there, "--force")
    app = app_of(there)
    with app.run(environment_name=there):
        assert app.registered_functions["where"].remote() == (there, "x")


def test_dicts_of_one_name_are_in_each_environment(connected: Any, there: str) -> None:
    here, away = inrush.Dict.from_name("d", create_if_missing=True), None
    away = inrush.Dict.from_name("d", environment_name=there, create_if_missing=True)
    here["k"], away["k"] = "main", there
    assert (here["k"], away["k"]) == ("main", there)
    assert pickle.loads(pickle.dumps(away))["k"] == there
    inrush.Dict.objects.create("only", environment_name=there)
    assert {one.name for one in inrush.Dict.objects.list(environment_name=there)} == {"d", "only"}
    assert "only" not in {one.name for one in inrush.Dict.objects.list()}
    inrush.Dict.objects.delete("d", environment_name=there)
    with pytest.raises(NotFoundError):
        inrush.Dict.from_name("d", environment_name=there).hydrate()
    with inrush.Dict.ephemeral(environment_name=there) as passing:
        passing["a"] = 1
        assert passing.name in {one.name for one in inrush.Dict.objects.list(environment_name=there)}
    assert here["k"] == "main"
    here.delete()


def test_an_environment_that_is_not_there_is_said_by_its_name(connected: Any) -> None:
    with pytest.raises(NotFoundError, match="no environment 'nowhere'"):
        inrush.Function.from_name("a", "f", environment_name="nowhere").hydrate()
    with pytest.raises(NotFoundError, match="no environment 'nowhere'"):
        inrush.App("x").deploy(environment_name="nowhere")
    for given in ("", 3, b"main"):
        with pytest.raises(InvalidError, match="environment_name is the name of an environment"):
            inrush.Dict.from_name("d", environment_name=given)  # type: ignore[arg-type]


def test_a_secret_of_another_environment_is_not_for_an_app(connected: Any, there: str) -> None:
    connected.inrush("secret", "create", "theirs", "A=b", "-e", there, "--force")
    app = inrush.App("borrower", secrets=[inrush.Secret.from_name("theirs", environment_name=there)])

    @app.function(serialized=True, name="f")
    def f() -> None: ...

    with pytest.raises(NotFoundError, match="is not in the environment 'main'"), app.run():
        pass
