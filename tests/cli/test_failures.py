"""What a command prints, and its exit status, when an error ends it."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from inrush.cli.screen.failures import ProgramError, readable, status_of
from inrush.errors import Error, InvalidError
from inrush.settings import load


def ends_with(error: BaseException) -> int:
    @click.command()
    def command() -> None:
        raise error

    return status_of(command, [])


def test_what_we_raise_on_purpose_is_shown_without_a_traceback(capsys):
    assert ends_with(InvalidError("no GPU is called A11G; A10G is")) == 1
    shown = capsys.readouterr().err
    assert shown == "error: no GPU is called A11G; A10G is\n"


def test_what_we_raise_about_a_line_of_the_program_names_the_line(capsys):
    error = ProgramError("main")
    try:
        raise InvalidError("no GPU is called A11G")
    except InvalidError as cause:
        error.__cause__ = cause
    assert ends_with(error) == 1
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "error: no GPU is called A11G"
    assert shown[1].startswith(f"  {__file__}:")
    assert shown[1].endswith('raise InvalidError("no GPU is called A11G")')
    assert len(shown) == 2


def test_an_exception_of_the_program_is_shown_with_its_traceback(capsys):
    error = ProgramError("main")
    try:
        {}["missing"]
    except KeyError as cause:
        error.__cause__ = cause
    assert ends_with(error) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert "KeyError: 'missing'" in shown
    assert __file__ in shown


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_ends_with_130(error):
    assert ends_with(error) == 130


def test_ctrl_c_before_the_command_is_loaded_ends_with_130_too():
    program = """
import sys
class Interrupted:
    def find_spec(self, name, *_):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from inrush.cli import main
main(["doctor"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize(("code", "status"), [(None, 0), (0, 0), (3, 3), ("no luck", 1)])
def test_a_program_that_exits_ends_with_its_own_status(code, status):
    error = ProgramError("main")
    error.__cause__ = SystemExit(code)
    assert ends_with(error) == status


def test_a_wrong_flag_ends_with_2_and_the_usage(capsys):
    @click.command()
    def command() -> None: ...

    assert status_of(command, ["--frobnicate"]) == 2
    assert "--frobnicate" in capsys.readouterr().err


def test_a_traceback_leaves_out_our_frames():
    with pytest.raises(Error) as caught:
        load(environ={"INRUSH_PORT": "many"})
    shown = readable(caught.value)
    assert __file__ in shown
    assert "settings.py" not in shown
    assert "port must be of type int" in shown


def test_causes_are_shown_too():
    try:
        try:
            raise ValueError("first")
        except ValueError as first:
            raise RuntimeError("second") from first
    except RuntimeError as error:
        shown = readable(error)
    assert shown.index("ValueError: first") < shown.index("direct cause") < shown.index("RuntimeError: second")


def test_the_process_ends_with_the_status():
    done = subprocess.run([sys.executable, "-m", "inrush", "frobnicate"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "frobnicate" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_is_left_in_peace(tmp_path):
    command = f"{sys.executable} -m inrush config --json | true; exit ${{PIPESTATUS[0]}}"
    env = {**os.environ, "INRUSH_HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=env)
    assert done.stderr == ""
    assert done.returncode in (0, 1)


def test_a_module_that_only_the_image_has_is_answered_with_where_to_import_it(capsys):
    error = ProgramError("program")
    error.__cause__ = ModuleNotFoundError("No module named 'torch'")
    assert ends_with(error) == 1
    assert "with image.imports():" in capsys.readouterr().err
