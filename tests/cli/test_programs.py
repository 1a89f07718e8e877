"""How `FILE::name` is resolved to the function that runs."""

from __future__ import annotations

import itertools
import sys

import click
import pytest

from inrush.cli.programs import entries, programs
from inrush.cli.screen.failures import ProgramError, readable

numbers = itertools.count()


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Writes a program and loads it, each under a name of its own."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def load(text: str, wanted: str = "") -> programs.Program:
        path = tmp_path / f"a_program_{next(numbers)}.py"
        path.write_text("import inrush\napp = inrush.App('a')\n" + text)
        return programs.load(f"{path}::{wanted}" if wanted else str(path))

    return load


def chosen(program: programs.Program) -> entries.Entry:
    app, wanted = program.app()
    return entries.choose(app, wanted, "prog.py")


FUNCTION = "@app.function()\ndef f(x: int): return x\n"
OTHER = "@app.function()\ndef g(x: int): return x\n"
ENTRYPOINT = "@app.local_entrypoint()\ndef main(n: int = 1): return n + 1\n"
CLASS = (
    "@app.cls()\nclass Model:\n    @inrush.method()\n    def generate(self, prompt: str, n: int = 2): return prompt\n"
)


def test_the_only_entrypoint_is_run(program):
    entry = chosen(program(FUNCTION + OTHER + ENTRYPOINT))
    assert entry.name == "main"
    assert not entry.remote
    assert entry.call(4) == 5


def test_the_only_function_is_run_where_there_is_no_entrypoint(program):
    entry = chosen(program(FUNCTION))
    assert entry.name == "f"
    assert entry.remote


def test_the_choices_are_listed_where_there_are_several(program):
    with pytest.raises(click.UsageError, match=r"prog\.py::f, prog\.py::g"):
        chosen(program(FUNCTION + OTHER))


def test_a_name_chooses(program):
    assert chosen(program(FUNCTION + OTHER + ENTRYPOINT, "g")).name == "g"


def test_a_method_is_chosen_by_its_class_and_takes_its_own_arguments(program):
    entry = chosen(program(CLASS + ENTRYPOINT, "Model.generate"))
    assert entry.arguments(["--prompt", "hi"]) == ((), {"prompt": "hi", "n": 2})


def test_a_wrong_name_is_answered_with_those_that_are_there(program):
    with pytest.raises(click.UsageError, match=r"no 'h'; it has prog\.py::f"):
        chosen(program(FUNCTION, "h"))


def test_one_of_several_apps_is_chosen_by_its_variable(program):
    loaded = program(
        "app = None\none = inrush.App('1')\ntwo = inrush.App('2')\n@two.function()\ndef f(): ...\n", "two.f"
    )
    app, wanted = loaded.app()
    assert (app.name, wanted) == ("2", "f")
    with pytest.raises(click.UsageError, match=r"several apps.*::one, .*::two"):
        loaded._replace(wanted="").app()


def test_an_async_entrypoint_runs_to_its_end(program):
    entry = chosen(program("@app.local_entrypoint()\nasync def main(n: int = 1): return n + 1\n"))
    assert entry.call(n=2) == 3


def test_a_program_without_an_app_is_told_what_it_lacks(tmp_path, program):
    with pytest.raises(click.UsageError, match=r"inrush\.App"):
        program("app = None\n").app()


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(click.UsageError, match=r"nowhere\.py is not there"):
        programs.load("nowhere.py")


def test_a_folder_is_no_program(tmp_path):
    with pytest.raises(click.UsageError, match="is a folder, not a file"):
        programs.load(str(tmp_path))


def test_an_option_that_is_not_there_is_not_taken_for_a_file():
    with pytest.raises(click.NoSuchOption, match="--gpu"):
        programs.load("--gpu")


def test_a_program_that_does_not_import_raises_its_own_error(program):
    with pytest.raises(ProgramError) as caught:
        program("1 / 0\n")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_program_with_a_wrong_syntax_is_shown_where_it_is_wrong_and_nothing_of_ours(program):
    with pytest.raises(ProgramError) as caught:
        program("f(\n")
    assert caught.value.__cause__ is not None
    shown = readable(caught.value.__cause__)
    assert "line 3" in shown
    assert "was never closed" in shown
    assert "programs.py" not in shown


def test_a_program_may_not_hide_a_module_of_python(tmp_path):
    (tmp_path / "queue.py").write_text("")
    with pytest.raises(click.UsageError, match="rename"):
        programs.load(str(tmp_path / "queue.py"))


def test_a_module_is_loaded_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "a_package").mkdir()
    (tmp_path / "a_package" / "jobs.py").write_text("import inrush\napp = inrush.App('jobs')\n" + FUNCTION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert programs.load("a_package.jobs::f", as_module=True).app()[1] == "f"
    with pytest.raises(click.UsageError, match=r"no module a_package\.jokes"):
        programs.load("a_package.jokes", as_module=True)
