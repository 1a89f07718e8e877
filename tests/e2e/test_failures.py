"""Servers that are killed, clients that vanish, two of something at once: nothing is lost, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from running_server import RunningServer, descendants, poll

MAP = """
import os, time
import inrush

app = inrush.App("long-map")

@app.function(max_containers=2)
@inrush.concurrent(max_inputs=10)
def slow(n):
    time.sleep(0.05)
    return n

@app.local_entrypoint()
def main():
    got = []
    for n in slow.map(range(400), order_outputs=False):
        got.append(n)
        if len(got) == 20:
            print("UNDER WAY", flush=True)
    assert sorted(got) == list(range(400)), f"{len(got)} results"
    print("EACH ONCE")
"""


def read_until(process: subprocess.Popen[str], word: str) -> str:
    """Reads a program's output up to a line with that word."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if word in line:
            return read
    raise AssertionError(f"it ended before {word!r}:\n{read}")


def test_a_map_in_flight_over_a_killed_server_ends_with_every_result_once(own_server: RunningServer) -> None:
    own_server.start()
    program = own_server.begin(MAP)
    try:
        read_until(program, "UNDER WAY")
        own_server.kill()
        own_server.adopt()  # the waiting client starts it again
        rest, _ = program.communicate(timeout=120)
    finally:
        program.kill()
    assert "EACH ONCE" in rest, rest
    assert program.returncode == 0


def test_a_spawn_that_was_acknowledged_runs_after_the_server_was_killed(own_server: RunningServer) -> None:
    own_server.start()
    deploy = own_server.write(
        """
        import time
        import inrush

        app = inrush.App("durable")

        @app.function(timeout=60)
        def work(n):
            time.sleep(1)
            return n * 7
        """
    )
    command = [sys.executable, "-m", "inrush", "deploy", str(deploy)]
    done = subprocess.run(command, env=own_server.env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    spawn = "import inrush; print([inrush.Function.from_name('durable', 'work').spawn(n).object_id for n in range(5)])"
    command = [sys.executable, "-c", spawn]
    told = subprocess.run(command, env=own_server.env, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stderr
    own_server.kill()
    own_server.start()
    get = f"import inrush; print([inrush.FunctionCall.from_id(c).get(timeout=90) for c in {told.stdout.strip()}])"
    got = subprocess.run([sys.executable, "-c", get], env=own_server.env, capture_output=True, text=True, timeout=120)
    assert got.stdout.strip() == "[0, 7, 14, 21, 28]", got.stderr + own_server.log()


def test_containers_go_when_their_client_vanishes(own_server: RunningServer) -> None:
    own_server.start()
    program = own_server.begin(
        """
        import time
        import inrush

        app = inrush.App("vanishing")

        @app.function()
        def wait():
            print("BEGUN", flush=True)
            time.sleep(600)

        @app.local_entrypoint()
        def main():
            wait.remote()
        """
    )
    try:
        read_until(program, "BEGUN")
        assert own_server.containers() != []
    finally:
        program.kill()
        program.wait()
    poll(lambda: own_server.containers() == [], 60, own_server.log)


def test_ctrl_c_ends_a_run_at_once_and_its_containers_with_it(own_server: RunningServer) -> None:
    own_server.start()
    program = own_server.begin(MAP.replace("0.05", "5"))
    try:
        poll(lambda: own_server.containers(), 60, own_server.log)
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=30)
    finally:
        program.kill()
    assert program.returncode != 0
    poll(lambda: own_server.containers() == [], 60, own_server.log)


def test_a_server_that_is_stopped_leaves_nothing(own_server: RunningServer) -> None:
    own_server.start()
    program = own_server.begin(MAP.replace("0.05", "5"))
    try:
        poll(lambda: own_server.containers(), 60, own_server.log)
        assert len(descendants(own_server.pid)) > 2
        assert own_server.stop() == 0
    finally:
        program.kill()
        program.wait()


def test_a_second_server_for_one_home_says_who_has_it(own_server: RunningServer) -> None:
    told = own_server.start()
    command = [sys.executable, "-m", "inrush", "server"]
    second = subprocess.run(command, env=own_server.env, capture_output=True, text=True, timeout=60)
    assert second.returncode != 0
    assert f"process {told['pid']}" in second.stderr
    assert "INRUSH_HOME" in second.stderr


def test_a_port_that_is_taken_is_named(own_server: RunningServer, home: object) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "inrush", "server", "--port", port]
        done = subprocess.run(command, env=own_server.env, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_when_the_launcher_dies_the_server_says_so_and_ends(own_server: RunningServer) -> None:
    own_server.start()
    process = own_server.process
    assert process is not None
    launcher = own_server.launcher_pid()
    os.kill(launcher, signal.SIGKILL)
    assert process.wait(60) != 0
    assert "launcher" in own_server.log()


def test_two_deploys_at_once_leave_one_whole_version(own_server: RunningServer) -> None:
    own_server.start()
    program = """
        import inrush

        app = inrush.App("twice")

        @app.function()
        def first():
            return VERSION

        @app.function()
        def second():
            return VERSION
        """
    paths = [own_server.write(program.replace("VERSION", str(n))) for n in range(4)]
    deploys = [
        subprocess.Popen(
            [sys.executable, "-m", "inrush", "deploy", str(path)],
            env=own_server.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for path in paths
    ]
    outputs = [deploy.communicate(timeout=120)[0] for deploy in deploys]
    assert any(deploy.returncode == 0 for deploy in deploys), outputs
    call = "import inrush; print([inrush.Function.from_name('twice', n).remote() for n in ('first', 'second')])"
    got = subprocess.run([sys.executable, "-c", call], env=own_server.env, capture_output=True, text=True, timeout=60)
    assert got.returncode == 0, got.stderr
    first, second = json.loads(got.stdout)
    assert first == second


FULL = """
import inrush

app = inrush.App("full-disk")
image = inrush.Image.host()IMAGE

@app.function(image=image)
def f():
    return "works"

@app.local_entrypoint()
def main():
    print(f.remote())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system can only be mounted by root")
def test_a_full_disk_in_the_layer_store_fails_the_build_and_nothing_else(own_server: RunningServer) -> None:
    layers = own_server.home / "node" / "layers"
    layers.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=900m,mode=700", "tmpfs", str(layers)], check=True)
    try:
        own_server.start()
        assert "works" in own_server.run(FULL.replace("IMAGE", "")).stdout
        grows = FULL.replace("IMAGE", '.run_commands("head -c 2000000000 /dev/zero > /opt/big")')
        failed = own_server.try_run(grows)
        assert failed.returncode != 0
        said = failed.stdout + failed.stderr
        assert "disk" in said or "No space" in said
        assert "Traceback" not in said
        assert "works" in own_server.run(FULL.replace("IMAGE", '.run_commands("echo small > /opt/small")')).stdout
        own_server.stop()
    finally:
        subprocess.run(["umount", str(layers)], check=True)
