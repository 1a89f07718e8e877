"""Marked secrets are put into every place that programs have for them. None may appear in a file, an answer of the API,
a command line, an environment or a log where it does not belong."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from running_server import RunningServer, descendants, poll

KINDS = ("SECRET", "NAMED", "ENV", "BUILD", "ARGUMENT", "SPAWNED", "HEADER", "BODY", "RAISED", "STARTUP", "CLIENT")

PROGRAM = """
import os
import inrush

def mark(kind):
    return os.environ.get("PLANT_" + kind, "")

app = inrush.App("planted")
secret = inrush.Secret.from_dict({"A_SECRET": mark("SECRET")})
build = inrush.Secret.from_dict({"A_BUILD": mark("BUILD")})
image = inrush.Image.host().run_commands("test -n \\"$A_BUILD\\"", secrets=[build])
env = {"DB_PASSWORD": mark("ENV")}

@app.function(image=image, secrets=[secret, inrush.Secret.from_name("named")], env=env)
def look(argument):
    seen = [os.environ["A_SECRET"], os.environ["NAMED"], os.environ["DB_PASSWORD"]]
    return [len(one) for one in seen] + [len(argument)]

@app.function(env=env)
def wrong(argument):
    raise ValueError("no")

@app.function(env=env)
def later(argument):
    return len(argument)

@app.cls(env=env, secrets=[secret], enable_memory_snapshot=True)
class Kept:
    @inrush.enter(snap=True)
    def load(self):
        self.n = len(os.environ["A_SECRET"])

    @inrush.method()
    def get(self):
        return self.n

@app.function(env=env, secrets=[secret])
@inrush.asgi_app()
def site():
    async def serve(scope, receive, send):
        if scope["type"] == "http":
            if scope["path"].endswith("/raise"):
                raise ValueError("no")
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})
    return serve

@app.function(env={"FAILS": mark("STARTUP")})
@inrush.asgi_app()
def failing():
    raise SystemExit("it cannot start with " + os.environ["FAILS"])

@app.local_entrypoint()
def main():
    assert look.remote(mark("ARGUMENT")) == [len(mark("SECRET")), len(mark("NAMED")), len(mark("ENV")), 32]
    try:
        wrong.remote(mark("RAISED"))
    except ValueError:
        pass
    assert Kept().get.remote() == 32
    assert later.spawn(mark("SPAWNED")).get() == 32
"""


@pytest.fixture(scope="module")
def marks() -> dict[str, str]:
    """A value for each kind, of 32 characters that stand nowhere else."""
    return {kind: secrets.token_hex(16) for kind in KINDS}


@pytest.fixture
def planted(own_server: RunningServer, marks: dict[str, str]) -> Iterator[RunningServer]:
    """A server in the background, which the first client starts, after all of the program has run."""
    client = {f"PLANT_{kind}": value for kind, value in marks.items()}
    created = own_server.env | client
    own_server.env = {**created, "LEFT_BY_THE_CLIENT": marks["CLIENT"]}
    named = own_server.inrush("secret", "create", "named", f"NAMED={marks['NAMED']}")
    assert named.returncode == 0, named.stderr
    own_server.adopt()
    program = own_server.home.parent / f"{own_server.home.name}-planted.py"
    program.write_text(PROGRAM)
    own_server.run(program, timeout_s=200)
    deployed = own_server.inrush("deploy", str(program))
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    visit(own_server, marks)
    yield own_server
    program.unlink()
    own_server.inrush("app", "stop", "planted")


def visit(server: RunningServer, marks: dict[str, str]) -> None:
    """The endpoints are asked, with secrets in heads and bodies; what their callers hear is looked through."""
    url = json.loads((server.home / "run" / "server.json").read_text())["url"]
    headers = {"authorization": f"Bearer {marks['HEADER']}", "cookie": f"session={marks['HEADER']}"}
    heard = []
    with httpx.Client(timeout=120, trust_env=False, headers=headers) as http:
        for path in ("site/", "site/raise", "failing/", f"none/?key={marks['HEADER']}"):
            answer = http.post(f"{url}/w/planted-{path}", content=marks["BODY"].encode())
            heard.append((answer.status_code, answer.text, dict(answer.headers)))
        for path in ("/api/v1/apps", "/link", "/api/v1/nothing", "/nothing"):
            heard.append((0, http.get(url + path, params={"token": marks["HEADER"]}).text, {}))
    assert [status for status, _, _ in heard[:4]] == [200, 500, 502, 404]
    for one in heard:
        assert not found(repr(one).encode(), marks), one
        assert "Traceback" not in one[1]
        assert "line " not in one[1]


def found(data: bytes, marks: dict[str, str]) -> list[str]:
    return [kind for kind, value in marks.items() if value.encode() in data]


def allowed(path: Path, home: Path) -> set[str]:
    """What a file of the home may hold: the payloads of spawned calls are kept, and what user code prints is logged."""
    name = str(path.relative_to(home))
    if name.startswith("store.db"):
        return {"SPAWNED"}
    if name.startswith("logs/"):
        return {"STARTUP"}  # the app's own log has its own words
    return {"TOKEN"} if name == "token" else set()


def test_no_file_of_the_home_holds_what_was_planted(planted: RunningServer, marks: dict[str, str]) -> None:
    planted.inrush("token", "create", "ci", "--rights", "deploy")
    sought = {**marks, "TOKEN": (planted.home / "token").read_text().strip()}
    shown: dict[str, list[str]] = {}
    files = 0
    for folder, _, names in os.walk(planted.home):
        for path in (Path(folder) / name for name in names):
            if not path.is_file() or path.is_symlink():
                continue
            files += 1
            held = set(found(path.read_bytes(), sought)) - allowed(path, planted.home)
            if held:
                shown[str(path.relative_to(planted.home))] = sorted(held)
    assert files > 10
    assert shown == {}
    answers(planted, sought)
    processes(planted, sought)


def answers(server: RunningServer, sought: dict[str, str]) -> None:
    """Every GET of the API, with every app, function and container in it, and the command line's words."""
    told = json.loads((server.home / "run" / "server.json").read_text())
    headers = {"authorization": f"Bearer {sought['TOKEN']}"}
    with httpx.Client(base_url=told["url"], timeout=60, trust_env=False, headers=headers) as http:
        apps = http.get("/api/v1/apps").json()
        containers = http.get("/api/v1/containers", params={"all": 1}).json()
        fills: dict[str, list[Any]] = {
            "{app}": [app["id"] for app in apps],
            "{id}": [one["id"] for one in containers],
            "{name}": [name for app in apps for name in app["functions"]],
        }
        asked = 0
        for path, operations in http.get("/api/openapi.json").json()["paths"].items():
            if "get" not in operations or path.endswith(("/exec", "/shell")):
                continue
            for full in filled(path, fills):
                body = http.get(full).content
                asked += 1
                assert set(found(body, sought)) <= {"STARTUP"}, full  # with which words its code failed
    assert asked > 10
    for words in (("why", "look"), ("app", "list"), ("secret", "list"), ("config",), ("server", "status"), ("doctor",)):
        done = server.inrush(*words)
        assert not found((done.stdout + done.stderr).encode(), sought), words


def filled(path: str, fills: dict[str, list[Any]]) -> list[str]:
    paths = [path]
    for hole, values in fills.items():
        paths = [one.replace(hole, str(value)) for one in paths for value in values] if hole in path else paths
    return [one for one in paths if "{" not in one]


def processes(server: RunningServer, sought: dict[str, str]) -> None:
    """Command lines of all, and environments of the server, the launcher and makers. Containers and the templates that
    they are forked from have the variables of their function."""
    looked = 0
    for pid in descendants(server.pid):
        try:
            line, environ = (Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        assert not found(line, sought), line
        if b"INRUSH_IS_REMOTE=1" not in environ:
            looked += 1
            assert not found(environ, sought), (pid, line)
    assert looked >= 2


def test_what_the_server_was_started_with_does_not_reach_containers(
    own_server: RunningServer, marks: dict[str, str]
) -> None:
    own_server.env = {**own_server.env, "INRUSH_TOKEN": marks["HEADER"], "LEFT_BY_THE_CLIENT": marks["CLIENT"]}
    own_server.start()
    looks = """
        import inrush
        app = inrush.App("looks")

        @app.function()
        def look():
            import os
            return repr(dict(os.environ)) + open("/proc/self/environ").read() + open("/proc/1/environ").read()

        @app.local_entrypoint()
        def main():
            print("SEEN", look.remote())
    """
    done = own_server.run(looks)
    assert "SEEN" in done.stdout
    assert not found(done.stdout.encode(), marks)
    poll(lambda: not own_server.containers(), 60, own_server.log)
