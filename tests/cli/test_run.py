"""`inrush run` and what can be done with what it runs, in real containers."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from running_server import RunningServer, poll

from .terminals import shown_on

PROGRAM = """
    import inrush

    app = inrush.App("cli-tests")


    @app.function()
    def shout(text: str, times: int = 1) -> str:
        print("shouting", text)
        return text.upper() * times


    @app.function()
    def count(to: int):
        yield from range(to)


    @app.function()
    def divide(a: int, b: int) -> float:
        return a / b


    @app.function()
    def wait(seconds: float = 600) -> None:
        import time

        print("waiting", flush=True)
        time.sleep(seconds)


    @app.cls()
    class Greeter:
        @inrush.method()
        def greet(self, name: str) -> str:
            return f"hello {name}"


    @app.cls()
    class Leaver:
        @inrush.exit()
        def leave(self):
            import time

            print("leaving")
            time.sleep(0.3)
            print("left")

        @inrush.method()
        def work(self) -> str:
            return "worked"


    @app.local_entrypoint()
    def main(text: str = "hey", fast: bool = False):
        print("main says", shout.remote(text), fast)


    @app.local_entrypoint()
    def several(*arglist):
        print(arglist)


    @app.local_entrypoint()
    def fails():
        raise KeyError("of the program")
"""


@pytest.fixture(scope="module")
def program(server: RunningServer) -> Path:
    return server.write(PROGRAM)


def run(server: RunningServer, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inrush", *map(str, args)]
    return subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=120)


def test_an_entrypoint_gets_its_options_and_what_containers_print_is_shown_with_their_name(server, program):
    done = run(server, "run", f"{program}::main", "--text", "psst", "--fast")
    assert done.returncode == 0, done.stderr
    assert "main says PSST True" in done.stdout
    assert any(line.startswith("co-") and line.endswith("shouting psst") for line in done.stdout.splitlines())


def test_the_result_of_a_function_is_printed(server, program):
    assert run(server, "run", f"{program}::shout", "--text", "a", "--times", "3").stdout.splitlines()[-1] == "AAA"


def test_what_a_generator_yields_is_printed(server, program):
    assert run(server, "run", f"{program}::count", "--to", "3").stdout == "0\n1\n2\n"


def test_a_method_can_be_run(server, program):
    assert run(server, "run", f"{program}::Greeter.greet", "--name", "you").stdout == "hello you\n"


def test_an_arglist_is_passed_as_it_is(server, program):
    assert run(server, "run", f"{program}::several", "--what", "3").stdout == "('--what', '3')\n"


def test_without_a_name_the_choices_are_listed(server, program):
    done = run(server, "run", program)
    assert done.returncode == 2
    assert f"{program}::main" in done.stderr
    assert "::shout" not in done.stderr


def test_help_of_a_program_shows_its_options(server, program):
    done = run(server, "run", f"{program}::main", "--help")
    assert done.returncode == 0
    assert "--text" in done.stdout


def test_an_exception_in_a_container_is_shown_with_the_traceback_from_there_and_none_of_ours(server, program):
    done = run(server, "run", f"{program}::divide", "--a", "1", "--b", "0")
    assert done.returncode == 1
    assert "return a / b" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert "inrush/cli" not in done.stderr


def test_an_exception_of_the_entrypoint_is_shown_with_its_own_traceback(server, program):
    done = run(server, "run", f"{program}::fails")
    assert done.returncode == 1
    assert 'raise KeyError("of the program")' in done.stderr
    assert "inrush/c" not in done.stderr


def test_what_cannot_be_is_refused_in_a_line(server):
    program = server.write("import inrush\napp = inrush.App('no')\n@app.function(gpu='A11G')\ndef f(): ...\n")
    done = run(server, "run", program)
    assert done.returncode == 1
    assert "A11G" in done.stderr
    assert "Traceback" not in done.stderr


def begin(server: RunningServer, *args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-u", "-m", "inrush", "run", *map(str, args)]
    return subprocess.Popen(command, env=server.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def containers(server: RunningServer) -> list[dict[str, object]]:
    return [row for row in server.containers() if row["app_name"] == "cli-tests"]


def waiting_container(process: subprocess.Popen[str]) -> str:
    """The container whose function says that it waits now."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith("waiting\n"):
            return line.split()[0]
    raise AssertionError(process.communicate()[1])


def test_what_exit_hooks_print_is_shown_to_the_end(server, program):
    lines = run(server, "run", f"{program}::Leaver.work").stdout.splitlines()
    assert [line.split()[-1] for line in lines] == ["worked", "leaving", "left"]


def test_what_was_spawned_is_cancelled_when_its_program_ends(server):
    program = server.write("""
import time
import inrush

app = inrush.App("spawns-and-leaves")

@app.function()
def work():
    print("working", flush=True)
    inrush.Dict.from_name("spawns-and-leaves", create_if_missing=True)["begun"] = True
    try:
        time.sleep(600)
    except inrush.exception.InputCancellation:
        print("told to end", flush=True)
        raise

@app.local_entrypoint()
def main():
    begun = inrush.Dict.from_name("spawns-and-leaves", create_if_missing=True)
    work.spawn()
    while "begun" not in begun:
        time.sleep(0.05)
""")
    done = run(server, "run", program)
    assert done.returncode == 0
    assert "told to end" in done.stdout
    assert not containers(server)


def test_ctrl_c_ends_the_app_and_its_containers_at_once(server, program):
    process = begin(server, f"{program}::wait")
    waiting_container(process)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in complaint
    poll(lambda: not containers(server), 60, lambda: str(containers(server)))


def test_a_container_can_be_looked_into_and_stopped(server, program):
    process = begin(server, f"{program}::wait")
    try:
        container = waiting_container(process)
        done = run(server, "container", "exec", container, "sh", "-c", "cat; echo $INRUSH_FUNCTION >&2; exit 3")
        assert done.returncode == 3
        assert "wait" in done.stdout
        assert run(server, "container", "exec", container, "--", "sh", "-c", "exit 4").returncode == 4
        told = json.loads(run(server, "container", "list", "--app", "cli-tests", "--json").stdout)
        assert [row["id"] for row in told] == [container]
        assert "waiting" in run(server, "container", "logs", container).stdout
        assert "waiting" in run(server, "app", "logs", "cli-tests").stdout
        assert run(server, "why", "cli-tests::wait").stdout.strip()
        assert run(server, "container", "stop", container).returncode == 0
    finally:
        process.kill()
        process.communicate()
    poll(lambda: not containers(server), 90, lambda: str(containers(server)))


def test_input_of_a_command_in_a_container_is_ours(server, program):
    process = begin(server, f"{program}::wait")
    try:
        container = waiting_container(process)
        command = [sys.executable, "-m", "inrush", "container", "exec", container, "sort"]
        done = subprocess.run(command, env=server.env, input="b\na\n", capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, "a\nb\n")
    finally:
        process.kill()
        process.communicate()


def test_a_program_may_come_by_standard_input(server):
    text = "import inrush\napp = inrush.App('piped')\n@app.function()\ndef f():\n    return {'n': 7}\n"
    command = [sys.executable, "-m", "inrush", "run", "--json", "-"]
    done = subprocess.run(command, env=server.env, input=text, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == {"n": 7}, done.stderr


def test_a_shell_has_a_terminal_and_the_functions_image(server, program):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "inrush", "shell", f"{program}::shout"]
    process = subprocess.Popen(command, env=server.env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, b"test -t 0 && echo terminal-$((4 + 2)); ls /root; exit 5\n")
    shown = shown_on(ours)
    assert process.wait(60) == 5, shown.decode()
    assert b"program.py" in shown
    assert b"terminal-6" in shown


def test_a_detached_app_goes_on_until_it_is_stopped(server, program):
    done = run(server, "run", "--detach", f"{program}::shout", "--text", "a")
    assert done.returncode == 0, done.stderr
    app = re.findall(r"ap-\w+", done.stderr)[0]
    assert app in run(server, "app", "list").stdout
    assert run(server, "app", "stop", app).returncode == 0
    assert app not in run(server, "app", "list").stdout


def test_a_deployed_app_can_be_called_by_name_and_deploying_again_replaces_it(server, program):
    assert "deployed cli-tests" in run(server, "deploy", program).stdout
    try:
        call = "import inrush; print(inrush.Function.from_name('cli-tests', 'shout').remote('x', 2))"
        command = [sys.executable, "-c", call]
        assert subprocess.run(command, env=server.env, capture_output=True, text=True).stdout == "XX\n"
        run(server, "deploy", program)
        told = json.loads(run(server, "app", "list", "--json").stdout)
        assert [row["version"] for row in told if (row["name"], row["state"]) == ("cli-tests", "deployed")] == [2]
    finally:
        run(server, "app", "stop", "cli-tests")


def test_dicts_of_programs_can_be_looked_into(server):
    program = server.write(
        """
        import inrush

        app = inrush.App("dicts")


        @app.local_entrypoint()
        def main():
            inrush.Dict.from_name("cli-dict", create_if_missing=True)["k"] = [1, 2]
        """
    )
    assert run(server, "run", program).returncode == 0
    assert "cli-dict" in run(server, "dict", "list").stdout
    assert run(server, "dict", "get", "cli-dict", "k").stdout == "[1, 2]\n"
    assert run(server, "dict", "get", "cli-dict", "other").returncode == 1
    assert run(server, "dict", "items", "cli-dict").stdout == '"k": [1, 2]\n'
    assert run(server, "dict", "delete", "cli-dict").returncode == 0
    assert "cli-dict" not in run(server, "dict", "list").stdout
