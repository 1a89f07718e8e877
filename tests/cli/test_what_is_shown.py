"""How commands show things: tables of any width, colours, completion, help, results in files."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from running_server import RunningServer

from .terminals import shown_on

PROGRAM = """
    import inrush

    app = inrush.App("an-app-with-a-name-of-some-length")


    @app.function(min_containers=1)
    def f(x: int = 1):
        print("in f", flush=True)
        return "result"


    @app.function()
    def another_function_with_a_long_name():
        return {}
"""
APP = "an-app-with-a-name-of-some-length"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def program(server: RunningServer) -> Iterator[Path]:
    file = server.write(PROGRAM)
    assert server.inrush("deploy", str(file)).returncode == 0
    assert server.inrush("call", f"{APP}::f").returncode == 0
    yield file
    server.inrush("app", "stop", APP)


def on_a_terminal(server: RunningServer, columns: int, *words: str, **env: str) -> str:
    """What a command shows on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {name: value for name, value in server.env.items() if name not in ("COLUMNS", "NO_COLOR")}
    command = [sys.executable, "-m", "inrush", *words]
    process = subprocess.Popen(
        command, env={**environ, "TERM": "xterm", **env}, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = shown_on(ours)
    assert process.wait(60) == 0, shown
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [60, 80])
def test_tables_fit_narrow_terminals_and_cut_nothing(server, program, columns):
    for words in (
        ("app", "list"),
        ("container", "list"),
        ("app", "info", APP),
        ("token", "list"),
        ("config",),
        ("why", APP),
    ):
        shown = COLOURS.sub("", on_a_terminal(server, columns, *words))
        assert max(map(len, shown.splitlines())) <= columns, shown
        assert "…" not in shown
        if words[1:2] == ("list",) and words[0] != "token":
            assert APP in shown
    (container,) = [str(row["id"]) for row in server.containers() if row["app_name"] == APP]
    assert container in on_a_terminal(server, columns, "container", "list")


def test_a_list_that_fits_is_a_table(server, program):
    lines = COLOURS.sub("", on_a_terminal(server, 200, "app", "list")).splitlines()
    assert lines[0].split() == ["name", "id", "state", "version", "functions", "containers", "created"]


def test_no_color_means_none(server, program):
    for words in (("app", "list"), ("server", "status"), ("app", "logs", APP)):
        assert COLOURS.search(on_a_terminal(server, 80, *words))
        assert "\x1b[" not in on_a_terminal(server, 80, *words, NO_COLOR="1")


def test_apps_functions_and_containers_are_completed(server, program):
    def completed(*words: str) -> str:
        env = {
            **server.env,
            "_INRUSH_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["inrush", *words]),
            "COMP_CWORD": str(len(words)),
        }
        command = [sys.executable, "-m", "inrush"]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60).stdout

    assert APP in completed("app", "logs", "an-")
    assert f"{APP}::f" in completed("why", "an-")
    assert f"{APP}::f" in completed("call", "an-")
    assert "f" in completed("app", "logs", APP, "--function", "f").replace(",", "\n").split("\n")
    assert "main" in completed("app", "list", "-e", "ma")
    assert "co-" in completed("container", "stop", "co-")
    assert "deploy" in completed("dep")


def test_help_of_run_has_examples_and_no_settings_of_the_server(server):
    shown = server.inrush("run", "--help").stdout
    assert "inrush run hello.py::square --x 3" in shown
    assert "--environment" in shown
    assert "--reserve-disk-mib" not in shown
    assert "--quiet" in shown


def test_results_go_into_a_file_and_quiet_says_nothing_of_inrush(server, program, tmp_path):
    file = tmp_path / "result"
    done = server.inrush("run", "-q", "-w", str(file), "-n", "renamed", f"{program}::f")
    assert done.returncode == 0, done.stderr
    assert file.read_text() == "result"
    assert done.stderr == ""
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["f"]
    wrong = server.inrush("run", "-w", str(file), f"{program}::another_function_with_a_long_name")
    assert wrong.returncode == 1
    assert "the result is of type dict" in wrong.stderr
    assert "renamed" in server.inrush("app", "list", "--all").stdout
    assert "its app has ended" in server.inrush("why", "renamed").stdout


def test_lines_have_timestamps(server, program):
    done = server.inrush("run", "--timestamps", f"{program}::f")
    assert re.search(r"^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\S* co-\S+ in f$", done.stdout, re.M)


def test_why_takes_an_app_by_its_id(server, program):
    (app,) = re.findall(rf"^{APP} +(ap-\w+)", server.inrush("app", "list").stdout, re.M)
    told = server.inrush("why", app).stdout
    assert "f:" in told
    assert "another_function_with_a_long_name:" in told


def test_a_version_has_the_tag_that_it_was_deployed_with(server):
    program = server.write(PROGRAM.replace(APP, "tagged"))
    assert server.inrush("deploy", "--tag", "first try", str(program)).returncode == 0
    assert server.inrush("deploy", str(program)).returncode == 0
    told = json.loads(server.inrush("app", "history", "tagged", "--json").stdout)
    assert [(version["number"], version["tag"]) for version in told] == [(2, ""), (1, "first try")]
    assert "first try" in server.inrush("app", "history", "tagged").stdout
    refused = server.inrush("deploy", "--tag", "x" * 129, str(program))
    assert (refused.returncode, "128 printable" in refused.stderr) == (1, True)
    server.inrush("app", "stop", "tagged")


def test_serving_may_end_by_itself(server, program):
    done = server.inrush("serve", "--timeout", "0.5", str(program))
    assert done.returncode == 0, done.stderr
    assert "serving" in done.stderr


@pytest.mark.parametrize("name", ["exception", "config", "gpu", "functions", "experimental"])
def test_modules_that_programs_import_are_there(name):
    code = {
        "exception": "from inrush.exception import NotFoundError, InputCancellation; import inrush.exception",
        "config": "from inrush.config import config; assert config.get('environment') == ''",
        "gpu": "from inrush import gpu; assert gpu.A100(count=2, size='80GB') == 'A100-80GB:2'",
        "functions": "from inrush.functions import Function, FunctionCall",
        "experimental": "from inrush.experimental import clustered, stop_fetching_inputs",
    }[name]
    env = {key: value for key, value in os.environ.items() if not key.startswith("INRUSH_")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
