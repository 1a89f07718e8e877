"""`inrush environment`, `token` and `audit`, and `-e` of the other commands."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from running_server import RunningServer

APP = """
    import inrush
    app = inrush.App("small")

    @app.function(secrets=[inrush.Secret.from_name("where")])
    def where():
        import os
        return os.environ["WHERE"], os.environ["INRUSH_ENVIRONMENT"]

    @app.local_entrypoint()
    def main():
        print(*where.remote())
"""


def inrush(server: RunningServer, *words: str) -> str:
    done = server.inrush(*words)
    assert done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}\n{server.log()}"
    return done.stdout


def refused(server: RunningServer, *words: str, text: str = "") -> str:
    command = [sys.executable, "-m", "inrush", *words]
    done = subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=120, input=text)
    assert done.returncode != 0, f"{words}: {done.stdout}"
    return done.stderr


@pytest.fixture
def staged(server: RunningServer) -> str:
    """An environment of these tests alone."""
    if "staged" not in inrush(server, "environment", "list"):
        inrush(server, "environment", "create", "staged")
    return "staged"


def test_an_environment_is_made_used_and_deleted_with_all_in_it(server: RunningServer) -> None:
    inrush(server, "environment", "create", "short")
    assert "already" in refused(server, "environment", "create", "short")
    for environment in ("main", "short"):
        inrush(server, "secret", "create", "where", f"WHERE=in-{environment}", "-e", environment, "--force")
    program = server.write(APP)
    assert inrush(server, "run", str(program)).split() == ["in-main", "main"]
    assert inrush(server, "run", "-e", "short", str(program)).split() == ["in-short", "short"]
    assert inrush(server, "run", "--env", "short", str(program)).split() == ["in-short", "short"]
    inrush(server, "deploy", "-e", "short", str(program))
    listed = json.loads(inrush(server, "environment", "list", "--json"))
    assert {told["name"]: told["apps"] for told in listed}["short"] == 1
    assert "small" in inrush(server, "app", "list", "-e", "short")
    refused(server, "environment", "delete", "short", text="n\n")
    assert "short" in inrush(server, "environment", "list")
    inrush(server, "environment", "delete", "short", "--yes")
    assert "no environment 'short'" in refused(server, "app", "list", "-e", "short")
    assert "no environment 'short'" in refused(server, "run", "-e", "short", str(program))
    assert "main" in refused(server, "environment", "delete", "main", "--yes")


def test_a_token_is_told_once_works_where_it_may_and_is_revoked(server: RunningServer, staged: str) -> None:
    made = inrush(server, "token", "create", "reader", "--right", "read", "-e", staged, "--expires", "1h").strip()
    assert made.startswith("it-")
    listed = inrush(server, "token", "list")
    assert "reader" in listed
    assert made not in listed
    url = json.loads((server.home / "run" / "server.json").read_text())["url"]
    far = RunningServer(server.home / "far", {**server.env, "INRUSH_HOME": str(server.home / "far")})
    far.env |= {"INRUSH_SERVER_URL": url, "INRUSH_TOKEN": made}
    far.home.mkdir(exist_ok=True)
    inrush(far, "app", "list")
    assert "no environment 'main'" in refused(far, "app", "list", "-e", "main")
    for words in (("secret", "create", "x", "A=b"), ("token", "list"), ("audit",), ("server", "stop")):
        assert "needs the right" in refused(far, *words)
    assert "CheckApp needs the right 'deploy'" in refused(far, "run", str(server.write(APP)))
    inrush(server, "token", "revoke", "reader")
    assert "missing or wrong" in refused(far, "app", "list")


def test_a_program_elsewhere_deploys_and_calls_with_a_token_for_one_environment(
    server: RunningServer, staged: str
) -> None:
    words = ("--right", "deploy", "--right", "call", "--right", "read", "-e", staged, "--expires", "never")
    made = inrush(server, "token", "create", "worker", *words).strip()
    inrush(server, "secret", "create", "where", "WHERE=there", "-e", staged, "--force")
    url = json.loads((server.home / "run" / "server.json").read_text())["url"]
    there = {"INRUSH_SERVER_URL": url, "INRUSH_TOKEN": made}
    assert server.run(APP, **there).stdout.split() == ["there", staged]
    acts = json.loads(inrush(server, "audit", "--json"))
    assert [act["environment"] for act in acts if (act["who"], act["what"]) == ("worker", "run")] == [staged]
    assert any(act["what"] == "create token" and "worker" in act["about"] for act in acts)
    assert made not in json.dumps(acts)
    inrush(server, "token", "revoke", "worker")


@pytest.mark.parametrize("expires", ["0d", "1y", "soon", "-1h"])
def test_when_a_token_ends_is_written_as_shown(server: RunningServer, expires: str) -> None:
    assert "write 12h, 30d, 8w or never" in refused(server, "token", "create", "x", "--expires", expires)
