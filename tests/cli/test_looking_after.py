"""Commands that look after what runs: calls by hand, logs by time and text, shells, questions, suggestions."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from inrush.cli.programs.words import parse
from inrush.cli.verbs import root
from running_server import RunningServer

from .terminals import asked

PROGRAM = """
    import time
    import inrush

    app = inrush.App("kept")


    @app.function()
    def add(x: int, y: int = 1) -> int:
        print(f"adding {x}\\nto {y}", flush=True)
        return x + y


    @app.function()
    def count(to: int):
        yield from range(to)


    @app.function()
    def fail():
        print("failing", flush=True)
        raise ValueError("of the program")


    @app.cls()
    class Greeter:
        greeting: str = inrush.parameter(default="hello")

        @inrush.method()
        def greet(self, name: str) -> str:
            return f"{self.greeting} {name}"


    @app.local_entrypoint()
    def main():
        print(add.remote(1))
"""


@pytest.fixture(scope="module")
def deployed(server: RunningServer) -> Iterator[Path]:
    program = server.write(PROGRAM)
    assert server.inrush("deploy", str(program)).returncode == 0
    yield program
    server.inrush("app", "stop", "-y", "kept")


def test_a_function_is_called_by_name(server, deployed):
    assert server.inrush("call", "kept::add", "--x", "3").stdout.splitlines()[-1] == "4"
    assert server.inrush("call", "kept::add", "3", "--y", "-5").stdout.splitlines()[-1] == "-2"
    assert server.inrush("call", "kept::count", "--to", "3").stdout == "0\n1\n2\n"
    greeted = server.inrush("call", "--json", "kept::Greeter.greet", "--name", "you", "--greeting=hi")
    assert json.loads(greeted.stdout) == "hi you"


def test_a_call_that_fails_says_why(server, deployed):
    failed = server.inrush("call", "kept::fail")
    assert failed.returncode == 1
    assert "ValueError: of the program" in failed.stderr
    assert "it has Greeter, add, count, fail" in server.inrush("call", "kept::adds").stderr
    assert "Greeter has no method 'meet'; it has greet" in server.inrush("call", "kept::Greeter.meet").stderr
    assert "'kept' is not APP::FUNCTION" in server.inrush("call", "kept").stderr


def test_words_are_read_as_json_where_they_are_json():
    words = [
        "3",
        "--name",
        "ada",
        "--fast",
        "--no-cache",
        "--max-size=[1, 2]",
        "--text",
        '"3"',
        "--n",
        "-4",
        "--",
        "--x",
    ]
    named = {"name": "ada", "fast": True, "cache": False, "max_size": [1, 2], "text": "3", "n": -4}
    assert parse(words) == ([3, "--x"], named)


def test_logs_are_found_by_text_function_container_and_time(server, deployed):
    assert server.inrush("call", "kept::add", "--x", "41").returncode == 0
    server.inrush("call", "kept::fail")

    def logs(*words: str) -> list[dict[str, object]]:
        told = server.inrush("app", "logs", "kept", "--json", *words)
        assert told.returncode == 0, told.stderr
        return [json.loads(line) for line in told.stdout.splitlines()]

    found = logs("--search", "adding 41")
    assert [line["text"] for line in found] == ["adding 41\n"]
    assert {line["function"] for line in logs("--function", "fail", "--since", "1h")} == {"fail"}
    container = str(found[0]["container"])
    assert {line["container"] for line in logs("--container", container)} == {container}
    assert {line["call"] for line in logs("--all", "--function-call", found[0]["call"])} == {found[0]["call"]}
    assert {line["stream"] for line in logs("-s", "stdout")} == {"stdout"}
    assert logs("--until", "1d") == []
    assert logs("--since", "2031-01-01") == []
    stamped = server.inrush("app", "logs", "kept", "--search", "adding 41", "--timestamps").stdout
    assert stamped[:2] == "20"
    assert stamped.endswith(f"{container} adding 41\n")
    assert "10m" in server.inrush("app", "logs", "kept", "--since", "yesterday").stderr


def test_following_a_log_ends_when_its_app_has_ended(server):
    program = server.write(PROGRAM.replace('"kept"', '"followed"'))
    assert server.inrush("deploy", str(program)).returncode == 0
    assert server.inrush("call", "followed::add", "--x", "1").returncode == 0
    command = [sys.executable, "-u", "-m", "inrush", "app", "logs", "-f", "followed"]
    following = subprocess.Popen(command, env=server.env, stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(60, following.kill)
    timer.start()
    assert following.stdout is not None
    assert "adding 1" in following.stdout.readline()
    assert server.inrush("app", "stop", "followed").returncode == 0
    rest, _ = following.communicate()
    timer.cancel()
    assert following.returncode == 0
    assert "has ended: it was stopped" in rest
    again = server.inrush("app", "logs", "-f", "followed")
    assert (again.returncode, "adding 1" in again.stdout) == (0, True)


def test_an_app_says_what_it_is(server, deployed):
    told = server.inrush("app", "info", "kept")
    assert "deployed" in told.stdout
    assert "Greeter" in told.stdout
    assert json.loads(server.inrush("app", "info", "kept", "--json").stdout)["name"] == "kept"


def test_a_function_is_looked_at_and_scaled_by_name(server, deployed):
    def told(*words: str) -> dict[str, object]:
        done = server.inrush("function", *words, "--json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    assert told("info", "kept/add")["timeout_s"] == 300
    assert told("stats", "kept::add")["running_inputs"] == 0
    changed = told("autoscaler", "update", "kept/add", "--max-containers", "3")
    assert (changed["done"], changed["max_containers"]) == ("updated", 3)
    assert told("autoscaler", "settings", "kept/add") == {
        "min_containers": 0, "max_containers": 3, "buffer_containers": 0, "scaledown_window_s": 60.0
    }  # fmt: skip
    wrong = server.inrush("function", "autoscaler", "update", "kept/add", "--min-containers", "4")
    assert (wrong.returncode, "above its max_containers of 3" in wrong.stderr) == (1, True)
    assert server.inrush("call", "kept::add", "--x", "5").returncode == 0
    assert "adding" in server.inrush("function", "logs", "kept::add", "--search", "adding").stdout
    assert server.inrush("function", "info", "add").returncode == 2


def test_a_person_is_asked_before_something_is_destroyed_and_a_script_is_not(server):
    assert server.inrush("dict", "create", "asked").returncode == 0
    status, shown = asked(server, b"n\n", "dict", "delete", "asked")
    assert status == 1
    assert "nothing was changed" in shown
    assert "asked" in server.inrush("dict", "list").stdout
    assert asked(server, b"", "dict", "clear", "-y", "asked")[0] == 0
    assert asked(server, b"y\n", "dict", "delete", "asked")[0] == 0
    assert "asked" not in server.inrush("dict", "list").stdout
    for verb in (("app", "stop"), ("container", "stop"), ("secret", "delete"), ("token", "revoke")):
        assert asked(server, b"n\n", *verb, "nothing")[0] == 1


def test_a_command_that_acts_says_for_machines_what_it_did_to_what(server):
    acts = [
        (("dict", "create", "told"), {"done": "created", "dict": "told"}),
        (("dict", "clear", "told"), {"done": "cleared", "dict": "told"}),
        (("dict", "delete", "told"), {"done": "deleted", "dict": "told"}),
        (("dict", "delete", "told", "--allow-missing"), {"done": "nothing", "dict": "told"}),
        (("secret", "create", "told", "A=1"), {"done": "created", "secret": "told", "keys": ["A"]}),
        (("secret", "delete", "told"), {"done": "deleted", "secret": "told"}),
    ]
    for words, said in acts:
        done = server.inrush(*words, "--json")
        assert json.loads(done.stdout) == said, done.stderr


def test_every_command_that_prints_takes_json():
    def commands(name, command):
        if isinstance(command, click.Group):
            context = click.Context(command)
            for verb in command.list_commands(context):
                yield from commands(f"{name} {verb}".strip(), command.get_command(context, verb))
        else:
            yield name, {option for parameter in command.params for option in parameter.opts}

    without = {name for name, options in commands("", root) if "--json" not in options}
    of_others = {"shell", "container exec", "server unit"}  # they pass on what others print, or print a file
    assert {name for name in without if name.split()[0] not in ("sim", "bench")} == of_others


def test_a_dict_is_cleared_and_stays(server):
    program = """
        import inrush

        app = inrush.App("clears")

        @app.local_entrypoint()
        def main():
            inrush.Dict.from_name("cleared").update(k=1, l=2, m=3)
    """
    assert server.inrush("dict", "create", "cleared").returncode == 0
    server.run(program)
    assert json.loads(server.inrush("dict", "get", "--json", "cleared", "k").stdout)["value"]["text"] == "1"
    assert "… and more; --all" in server.inrush("dict", "items", "cleared", "2").stdout
    assert len(json.loads(server.inrush("dict", "items", "-a", "cleared", "--json").stdout)) == 3
    assert server.inrush("dict", "clear", "cleared").returncode == 0
    assert server.inrush("dict", "items", "cleared").stdout == ""
    assert "cleared" in server.inrush("dict", "list").stdout
    assert server.inrush("dict", "clear", "no-such").returncode == 1


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["depoy"], "`inrush deploy`"),
        (["app", "lst"], "`inrush app list`"),
        (["secret", "creat"], "`inrush secret create`"),
    ],
)
def test_an_unknown_command_suggests_the_one_that_was_meant(words, meant):
    done = subprocess.run([sys.executable, "-m", "inrush", *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"did you mean {meant}" in done.stderr


def test_what_users_of_modal_type_that_is_elsewhere_says_where():
    done = CliRunner().invoke(root, ["volume", "list"])
    assert done.exit_code == 2
    assert "volumes are not built yet" in done.output


def test_a_shell_without_a_function_has_what_its_options_say(server):
    assert server.inrush("secret", "create", "shells", "WORD=swordfish").returncode == 0
    line = "echo $WORD $INRUSH_GPU_TYPE $CUDA_VISIBLE_DEVICES; exit 3"
    done = server.inrush("shell", "--gpu", "A100:2", "--secret", "shells", "--cmd", line)
    assert done.returncode == 3, done.stderr
    assert done.stdout.split()[:2] == ["swordfish", "A100"]
    assert len(done.stdout.split()[2].split(",")) == 2
    page = server.write("print('added')")
    done = server.inrush("shell", "--add-local", str(page), "--cmd", f"python3 /mnt/{page.name}")
    assert done.stdout == "added\n", done.stderr
    assert "--gpu is for a shell without a function" in server.inrush("shell", "--gpu", "A100", "kept::add").stderr
    assert "images of registries are not built yet" in server.inrush("shell", "--image", "ubuntu").stderr


def test_a_command_in_a_container_may_be_given_a_terminal(server):
    program = server.write(
        """
        import inrush

        app = inrush.App("entered")

        @app.function(min_containers=1)
        def f():
            return None
        """
    )
    assert server.inrush("deploy", str(program)).returncode == 0
    assert server.inrush("call", "entered::f").returncode == 0
    (container,) = [str(row["id"]) for row in server.containers() if row["app_name"] == "entered"]
    test = ("sh", "-c", "test -t 1 && echo terminal || echo none")
    assert server.inrush("container", "exec", container, *test).stdout.split() == ["none"]
    assert server.inrush("container", "exec", "--pty", container, *test).stdout.split() == ["terminal"]
    assert server.inrush("shell", container, "echo", "-n", "the same").stdout == "the same"
    assert server.inrush("shell", container, "--no-pty", "-c", "echo behind").stdout == "behind\n"
    server.inrush("app", "stop", "entered")
