"""What people do beside calling functions: looking into containers, opening shells, asking why."""

from __future__ import annotations

import subprocess
import sys

from running_server import RunningServer, poll

SLEEPER = """
import time
import inrush

app = inrush.App("sleeper")

@app.function()
def sleep(seconds):
    print("BEGUN", flush=True)
    time.sleep(seconds)

@app.local_entrypoint()
def main():
    sleep.remote(600)
"""


def inrush(server: RunningServer, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inrush", *arguments]
    return subprocess.run(command, env=server.env, input=stdin, capture_output=True, text=True, timeout=60)


def test_a_command_runs_in_a_container_that_runs_and_its_status_is_passed_on(server: RunningServer) -> None:
    program = server.begin(SLEEPER)
    try:
        poll(lambda: [c for c in server.containers() if c["state"] == "ready"], 60, server.log)
        [container] = [c for c in server.containers() if c["app_name"] == "sleeper"]
        done = inrush(server, "container", "exec", str(container["id"]), "sh", "-c", "echo $INRUSH_FUNCTION; exit 3")
        assert (done.returncode, done.stdout) == (3, "sleep\n"), done.stderr
        done = inrush(server, "container", "exec", str(container["id"]), "cat", stdin="passed on\n")
        assert (done.returncode, done.stdout) == (0, "passed on\n"), done.stderr
        stopped = inrush(server, "container", "stop", str(container["id"]))
        assert stopped.returncode == 0, stopped.stderr
        poll(lambda: str(container["id"]) not in [c["id"] for c in server.containers()], 60, server.log)
    finally:
        program.kill()
        program.communicate()


def test_a_shell_of_a_function_has_its_files_and_its_interpreter(server: RunningServer) -> None:
    path = server.write(SLEEPER)
    done = inrush(server, "shell", f"{path}::sleep", "python3", "-c", "import program; print(program.app)")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sleeper" in done.stdout


def test_why_tells_how_a_function_was_scaled(server: RunningServer) -> None:
    program = server.begin(SLEEPER)
    try:
        poll(lambda: [c for c in server.containers() if c["state"] == "ready"], 60, server.log)
        done = inrush(server, "why", "sleeper::sleep")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 wanted" in done.stdout
    finally:
        program.kill()
        program.communicate()
