"""A version takes traffic when it has shown that it starts; what cannot run here keeps nobody else from running."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from running_server import RunningServer, poll

APP = """
import os
import inrush

app = inrush.App("{name}")

@app.cls({options})
class K:
    @inrush.enter()
    def begin(self):
        {begin}
    @inrush.method()
    def m(self):
        return "{answer}"

@app.function()
def other():
    return "other of {answer}"
"""
CALL = """
import sys
import inrush
print("GOT", inrush.Cls.from_name("{name}", "K")().m.remote())
"""


def deploy(
    server: RunningServer, name: str, answer: str, begin: str = "pass", options: str = ""
) -> subprocess.CompletedProcess[str]:
    program = server.write(APP.format(name=name, answer=answer, begin=begin, options=options))
    return server.inrush("deploy", str(program))


def called(server: RunningServer, name: str) -> str:
    program = server.write(CALL.format(name=name))
    done = subprocess.run([sys.executable, str(program)], env=server.env, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "begin", ["raise RuntimeError('boom')", "os.kill(os.getpid(), 9)", "os._exit(0)", "import nope"]
)
def test_a_version_that_does_not_start_leaves_the_one_before_serving(server: RunningServer, begin: str) -> None:
    name = f"deploys-{abs(hash(begin)) % 1000}"
    assert deploy(server, name, "first").returncode == 0
    assert "GOT first" in called(server, name)
    failed = deploy(server, name, "second", begin)
    assert failed.returncode != 0
    assert "K does not start, and version 1 serves on" in failed.stderr
    if "boom" in begin:
        assert "RuntimeError: boom" in failed.stderr
        assert "in begin" in failed.stderr, "its traceback"
    assert "GOT first" in called(server, name)
    assert deploy(server, name, "third").returncode == 0
    assert "GOT third" in called(server, name)


def test_no_call_fails_while_versions_change(server: RunningServer) -> None:
    deploy(server, "steady", "one")
    ended, said = threading.Event(), list[str]()

    def calls() -> None:
        while not ended.is_set():
            said.append(called(server, "steady"))

    caller = threading.Thread(target=calls)
    caller.start()
    try:
        poll(lambda: said, 60)
        assert deploy(server, "steady", "bad", "raise RuntimeError('boom')").returncode != 0
        assert deploy(server, "steady", "two", "import time; time.sleep(1)").returncode == 0
        count = len(said)
        poll(lambda: len(said) >= count + 2, 60)
    finally:
        ended.set()
        caller.join()
    assert all("GOT one" in text or "GOT two" in text for text in said), said
    assert "GOT two" in said[-1]


def test_where_there_is_no_room_to_try_it_the_version_before_comes_back(server: RunningServer) -> None:
    whole = 'gpu="A10G:8", min_containers=1'
    assert deploy(server, "whole", "first", options=whole).returncode == 0
    assert "GOT first" in called(server, "whole")
    failed = deploy(server, "whole", "second", "raise RuntimeError('boom')", whole)
    assert failed.returncode != 0
    assert "the version before serves again, as version 3" in failed.stderr
    assert "GOT first" in called(server, "whole")
    done = deploy(server, "whole", "third", options=whole)
    assert done.returncode == 0, done.stderr
    assert "K takes the traffic untried" in done.stderr
    assert "GOT third" in called(server, "whole")
    server.inrush("app", "stop", "whole")


def test_a_version_that_could_never_run_here_leaves_the_one_before_serving(server: RunningServer) -> None:
    assert deploy(server, "typo", "first").returncode == 0
    failed = deploy(server, "typo", "second", options='gpu="H200"')
    assert failed.returncode != 0
    assert "K cannot run here, and version 1 serves on: no node has H200" in failed.stderr
    assert "GOT first" in called(server, "typo")


def test_a_version_can_be_rolled_back(server: RunningServer, tmp_path: Path) -> None:
    for answer in ("one", "two", "three"):
        deploy(server, "back", answer)
    assert "GOT three" in called(server, "back")
    back = server.inrush("app", "rollback", "back")
    assert "version 4 of back serves" in back.stdout, back.stderr
    assert "GOT two" in called(server, "back")
    assert server.inrush("app", "rollback", "back", "v1", "--strategy", "recreate").returncode == 0
    assert "GOT one" in called(server, "back")
    history = server.inrush("app", "history", "back").stdout.splitlines()
    assert [line.split()[0] for line in history[1:]] == ["5", "4", "3", "2", "1"]
    missing = server.inrush("app", "rollback", "back", "77")
    assert missing.returncode != 0
    assert "has no version 77" in missing.stderr


def test_a_rollover_replaces_all_containers_and_keeps_the_code(server: RunningServer) -> None:
    deploy(server, "renewed", "same")
    assert "GOT same" in called(server, "renewed")
    before = {container["id"] for container in server.containers()}
    done = server.inrush("app", "rollover", "renewed", "--strategy", "recreate", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["done"], told["name"], told["version"]) == ("rolled over", "renewed", 2)
    assert "GOT same" in called(server, "renewed")
    fresh = [c for c in server.containers() if c["app_name"] == "renewed" and c["state"] == "ready"]
    assert fresh
    assert not before & {container["id"] for container in fresh}
    assert "renewed" in server.inrush("audit", "-n", "3").stdout


def test_versions_outlive_a_restart(own_server: RunningServer) -> None:
    own_server.start()
    deploy(own_server, "kept", "one")
    deploy(own_server, "kept", "two")
    own_server.stop()
    own_server.start()
    assert "GOT two" in called(own_server, "kept")
    assert own_server.inrush("app", "rollback", "kept").returncode == 0
    assert "GOT one" in called(own_server, "kept")


def test_what_cannot_run_here_keeps_nobody_else_from_running(server: RunningServer) -> None:
    done = server.run("""
        import inrush

        app = inrush.App("partly")

        @app.function(gpu="H200:8")
        def big():
            return 1

        @app.function()
        def small():
            return 2

        @app.local_entrypoint()
        def main():
            print("GOT", small.remote())
            for refused in (big.remote, big.spawn):
                try:
                    refused()
                except Exception as error:
                    print(type(error).__name__, error)
        """)
    assert "GOT 2" in done.stdout
    assert done.stdout.count("InvalidError big cannot run here: no node has H200") == 2
    assert "big of app 'partly' cannot run here: no node has H200" in done.stderr
