"""The statements about trust in docs/guides/security.md, line by line, with a real server and real containers."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from inrush.cli.commands import dict as dict_command
from inrush.launcher.specs import FIRST_UID, UID_RANGE
from running_server import RunningServer, descendants, poll

SOURCE = Path(dict_command.__file__).parents[2]

ASK = """
    import json
    import inrush
    from inrush import wire
    from inrush.client._dual import dual
    from inrush.client._link import current

    class Link:
        @dual
        async def ask(self, body):
            return await (await current()).ask(body)

        @dual
        async def send(self, message):
            (await current()).post(message)

    def asked(body):
        try:
            return repr(Link().ask(body))
        except BaseException as error:
            return type(error).__name__
"""


def program(name: str, body: str, options: str = "") -> str:
    """A program whose function `f` runs `body` and returns what it calls `told`; its entrypoint prints that as JSON."""
    indented = "\n".join(f"        {line}" for line in body.strip("\n").splitlines())
    return f"""{ASK}
    app = inrush.App("{name}")

    @app.function({options})
    def f(*args):
        told = {{}}
{indented}
        return told

    @app.local_entrypoint()
    def main():
        print("TOLD" + json.dumps(f.remote(), default=repr))
"""


def run(server: RunningServer, text: str, **env: str) -> dict[str, Any]:
    done = server.run(text, **env)
    return dict(json.loads(done.stdout.partition("TOLD")[2].splitlines()[0]))


def inrush(server: RunningServer, *words: str, status: int = 0) -> str:
    done = server.inrush(*words)
    assert done.returncode == status, f"{words}: {done.stdout}\n{done.stderr}\n{server.log()}"
    return done.stdout


def deploy(server: RunningServer, text: str, *options: str) -> None:
    inrush(server, "deploy", *options, str(server.write(text)))


VICTIM = """
    import inrush
    app = inrush.App("victim")
    SECRET = inrush.Secret.from_dict({"VICTIM_KEY": "s3cr3t-v1ctim-value"})

    @app.function(env={"DB_PASSWORD": "plain-env-value"}, secrets=[SECRET])
    def add(a, b):
        return a + b

    @app.function()
    def slow(seconds):
        import time
        time.sleep(seconds)
        return seconds

    @app.function()
    def spawned():
        return slow.spawn(60).object_id
"""


@pytest.fixture(scope="module")
def neighbours(server: RunningServer) -> RunningServer:
    """A server with the environments `main` and `other`, and an app `victim` in each."""
    inrush(server, "environment", "create", "other")
    deploy(server, VICTIM)
    deploy(server, VICTIM, "-e", "other")
    inrush(server, "secret", "create", "named", "KEY=named-value")
    return server


# ── within an environment ────────────────────────────────────────────────────────────────────────────────────────────


def test_apps_of_one_environment_call_one_another_and_exchange_pickles(neighbours: RunningServer) -> None:
    body = """
told["sum"] = inrush.Function.from_name("victim", "add").remote(1, 2)
d = inrush.Dict.from_name("shared", create_if_missing=True)
d["complex"] = 3 + 4j
told["dict"] = repr(inrush.Dict.from_name("shared")["complex"])
told["listed"] = "shared" in [one.name for one in inrush.Dict.objects.list()]
"""
    assert run(neighbours, program("friend", body)) == {"sum": 3, "dict": "(3+4j)", "listed": True}


def test_a_neighbour_is_told_how_to_call_a_function_and_nothing_else_of_it(neighbours: RunningServer) -> None:
    body = """
told["found"] = asked(wire.FindFunction("victim", "add"))
told["others"] = {name: asked(body) for name, body in {
    "secret": wire.FindSecret("named"), "put": wire.PutSecret((("A", "b"),), "named"),
    "source": wire.HasBlobs(("sha256-" + "0" * 64,)), "blob": wire.GetBlob("sha256-" + "0" * 64),
    "digest": wire.PutBlob(b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    "deploy": wire.StartApp(wire.AppSpec(name="x"), True), "check": wire.CheckApp(wire.AppSpec(name="x")),
    "build": wire.BuildImage(wire.Recipe(), "x"), "stop": wire.StopApp("victim"), "logs": wire.FollowLogs("victim"),
    "states": wire.FollowStates("victim"),
}.items()}
function = json.loads(json.dumps(Link().ask(wire.FindFunction("victim", "add"))["function"]))
told["scale"] = asked(wire.OverrideScale(function, 5))
"""
    told = run(neighbours, program("nosy", body))
    assert "'add'" in told["found"]
    for hidden in ("plain-env-value", "VICTIM_KEY", "se-", "sha256", "source", "image", "env"):
        assert hidden not in told["found"], told["found"]
    assert {*told["others"].values(), told["scale"]} == {"PermissionDeniedError"}


@pytest.mark.parametrize("environment", ["main", "other"])
def test_a_call_is_found_awaited_and_cancelled_only_by_apps_that_made_or_serve_it(
    neighbours: RunningServer, environment: str
) -> None:
    spawn = 'print("TOLD" + json.dumps({"id": inrush.Function.from_name("victim", "slow").spawn(5).object_id}))'
    outside = f"{ASK}\n    app = inrush.App('outside')\n    @app.local_entrypoint()\n    def main():\n        {spawn}\n"
    made = run(neighbours, outside)["id"]
    body = f"""
from inrush import FunctionCall
call = FunctionCall.from_id({made!r})
told["find"] = asked(wire.FindCall({made!r}))
for name, action in {{"get": lambda: call.get(timeout=3), "cancel": lambda: call.cancel(True)}}.items():
    try:
        told[name] = repr(action())
    except BaseException as error:
        told[name] = type(error).__name__
Link().send(wire.CancelCall({made!r}, True))
for message in (wire.Inputs({made!r}, 1, (b"P",)), wire.EndInputs({made!r}, 9), wire.ForgetCall({made!r})):
    Link().send(message)
Link().send(wire.StartCall({made!r}, "fn-none", "spawn", payloads=(b"P",)))
told["known"] = asked(wire.FindCall({made!r}))
"""
    told = run(neighbours, program("thief", body), INRUSH_ENVIRONMENT=environment)
    assert set(told.values()) == {"NotFoundError"}
    wait = f'print("TOLD" + json.dumps({{"got": inrush.FunctionCall.from_id({made!r}).get(timeout=60)}}))'
    assert run(neighbours, outside.replace(spawn, wait)) == {"got": 5}


def test_an_app_has_the_calls_that_it_made_and_those_that_it_serves(neighbours: RunningServer) -> None:
    body = """
call = inrush.Function.from_name("victim", "add").spawn(3, 4)
told["made"] = inrush.FunctionCall.from_id(call.object_id).get(timeout=60)
told["served"] = asked(wire.FindCall(inrush.current_function_call_id()))[:20]
"""
    assert run(neighbours, program("maker", body))["made"] == 7


def test_code_with_restrict_access_asks_for_nothing_at_all(neighbours: RunningServer) -> None:
    body = """
bodies = {
    "find": wire.FindFunction("victim", "add"), "own": wire.FindFunction("restricted", "f"),
    "dict": wire.OpenDict("shared", True), "list": wire.ListDicts(), "put": wire.PutBlob(b"x"),
    "call": wire.FindCall("ca-1"), "blob": wire.GetBlob("bl-" + "0" * 32), "stats": wire.FunctionStats("fn-1"),
}
told = {name: asked(body) for name, body in bodies.items()}
try:
    told["remote"] = inrush.Function.from_name("victim", "add").remote(1, 2)
except BaseException as error:
    told["remote"] = type(error).__name__
"""
    told = run(neighbours, program("restricted", body, "restrict_access=True"))
    assert set(told.values()) == {"PermissionDeniedError"}


# ── across environments ──────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_crosses_environments(neighbours: RunningServer) -> None:
    """Neither by a name, with or without its environment, nor by an id that somebody gave away."""
    ids = f"""{ASK}
    app = inrush.App("giver")
    @app.local_entrypoint()
    def main():
        inrush.Dict.from_name("private", create_if_missing=True)["k"] = "v"
        found = Link().ask(wire.FindFunction("victim", "add"))
        print("TOLD" + json.dumps({{
            "function": found["function"], "dict": Link().ask(wire.OpenDict("private")),
            "call": inrush.Function.from_name("victim", "add").spawn(1, 2).object_id}}))
"""
    given = run(neighbours, ids)
    body = f"""
given = {given!r}
bodies = {{
    "name": wire.FindFunction("victim", "add", "main"), "id": wire.BindClass(given["function"], b"{{}}"),
    "stats": wire.FunctionStats(given["function"]), "dict": wire.OpenDict("private"),
    "its": wire.OpenDict("private", True, "main"), "get": wire.DictOp(given["dict"], "get", (b"k",)),
    "items": wire.DictOp(given["dict"], "items"), "clear": wire.DictOp(given["dict"], "clear"),
    "list": wire.ListDicts("main"), "delete": wire.DeleteDict("private", "main"), "call": wire.FindCall(given["call"]),
}}
told = {{name: asked(body) for name, body in bodies.items()}}
from inrush.client._inflight import One
from inrush.client._link import current, new_call
class Caller:
    @dual
    async def go(self):
        link = await current()
        call = One(wire.StartCall(new_call(), given["function"], payloads=(b"J[[1,2],{{}}]",)))
        link.open(call)
        return await call.result
try:
    told["start"] = repr(Caller().go())
except BaseException as error:
    told["start"] = type(error).__name__
told["listed"] = asked(wire.ListDicts())
import os
told["environment"] = os.environ["INRUSH_ENVIRONMENT"]
told["own"] = inrush.Function.from_name("victim", "add").remote(20, 22)
"""
    told = run(neighbours, program("stranger", body), INRUSH_ENVIRONMENT="other")
    assert told.pop("own") == 42
    assert told.pop("environment") == "other"
    assert "private" not in told.pop("listed")
    assert set(told.values()) == {"NotFoundError"}, told
    run(neighbours, program("stranger", 'told["ran"] = True'))
    slots = slots_of(neighbours, "victim") + slots_of(neighbours, "stranger")
    assert len(slots) == len(set(slots)) == 4, "apps of the same name in two environments have ranges of their own"


def slots_of(server: RunningServer, app: str) -> list[int]:
    """Ranges of user ids that apps of this name have, in `main` and in `other`."""
    ranges = json.loads((server.home / "node" / "uids.json").read_text())
    return [int(slot) for key, (slot, _) in ranges.items() if re.fullmatch(rf"(other\.[0-9a-f]{{32}}/)?{app}", key)]


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has one range of user ids, or none")
def test_apps_of_one_name_run_as_different_users_in_each_environment(neighbours: RunningServer) -> None:
    """Seen from outside, in the processes of their containers."""
    call = """
    import inrush
    app = inrush.App("outside")
    @app.local_entrypoint()
    def main():
        for environment in ("main", "other"):
            inrush.Function.from_name("victim", "slow", environment_name=environment).spawn(20)
    """
    neighbours.run(call)
    poll(lambda: len(slots_of(neighbours, "victim")) == 2, 15.0, lambda: str(slots_of(neighbours, "victim")))
    wanted = set(slots_of(neighbours, "victim"))
    assert len(wanted) == 2
    poll(lambda: wanted <= slots_of_processes(neighbours), 15.0, lambda: f"{wanted} {slots_of_processes(neighbours)}")


def slots_of_processes(server: RunningServer) -> set[int]:
    """Ranges of user ids in which processes of the server run, but for those of the server itself."""
    users = set()
    for pid in descendants(server.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            users.add(Path(f"/proc/{pid}").stat().st_uid)
            status = Path(f"/proc/{pid}/status").read_text()
            users.add(int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1]))
    return {(user - FIRST_UID) // UID_RANGE for user in users if user >= FIRST_UID}


def test_logs_apps_and_why_are_those_of_an_environment(neighbours: RunningServer) -> None:
    text = 'import inrush\napp = inrush.App("speaker")\n@app.function()\ndef f():\n    print("only-for-other")\n'
    deploy(neighbours, text, "-e", "other")
    call = 'import inrush\napp = inrush.App("c")\n@app.local_entrypoint()\ndef main():\n    '
    call += 'inrush.Function.from_name("speaker", "f", environment_name="other").remote()\n'
    neighbours.run(call)
    deadline = time.monotonic() + 30
    while "only-for-other" not in inrush(neighbours, "app", "logs", "-e", "other", "speaker"):
        assert time.monotonic() < deadline
    assert "speaker" not in inrush(neighbours, "app", "list")
    assert "speaker" in inrush(neighbours, "app", "list", "-e", "other")
    for words in (("app", "logs", "speaker"), ("why", "speaker::f"), ("app", "stop", "speaker")):
        assert neighbours.inrush(*words).returncode == 1
    assert "speaker" not in inrush(neighbours, "container", "list", "--all")
    assert "started by" in inrush(neighbours, "why", "-e", "other", "speaker::f")


# ── nothing of ours unpickles ────────────────────────────────────────────────────────────────────────────────────────

EVIL = """
    import inrush, os, sys
    app = inrush.App("evildict")

    class Evil:
        def __reduce__(self):
            return (os.system, ("touch PROOF",))

    class Late:
        def __reduce__(self):
            return (eval, ("__import__('os').system('touch PROOF')",))

    @app.function()
    def f():
        d = inrush.Dict.from_name("evil-dict", create_if_missing=True)
        d["k"] = Evil()
        d[Evil()] = 1
        d["list"] = [1, {"a": Late()}]
        d["plain"] = {"text": "ä", "numbers": [1, 2.5, None, True], "bytes": b"123"}

    @app.local_entrypoint()
    def main():
        f.remote()
"""


def test_looking_into_a_dict_executes_nothing(neighbours: RunningServer, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    neighbours.run(EVIL.replace("PROOF", str(proof)))
    items = inrush(neighbours, "dict", "items", "evil-dict")
    assert '"k": <posix.system, ' in items
    assert "<posix.system, " in items.replace('"k": <posix.system', "")
    assert '"list": <builtins.eval, ' in items
    assert inrush(neighbours, "dict", "get", "evil-dict", "k").startswith("<posix.system, ")
    plain = {"text": "ä", "numbers": [1, 2.5, None, True], "bytes": "3 bytes"}
    assert json.loads(inrush(neighbours, "dict", "get", "evil-dict", "plain")) == plain
    told = json.loads(inrush(neighbours, "dict", "items", "evil-dict", "--json"))
    assert [item["value"]["text"] for item in told if item["key"]["text"] == '"k"'] == [""]
    assert not proof.exists()


def test_the_name_of_a_dict_leads_nowhere_else(neighbours: RunningServer) -> None:
    body = """
for name in ("../secrets/named", "a/items", "..", "a?key=b#c"):
    inrush.Dict.from_name(name, create_if_missing=True)["k"] = name
told["control"] = asked(wire.OpenDict("a\\x1b[2J", True))
"""
    assert run(neighbours, program("namer", body)) == {"control": "InvalidError"}
    for name in ("../secrets/named", "a/items", "..", "a?key=b#c"):
        assert json.loads(inrush(neighbours, "dict", "get", name, "k")) == name
        inrush(neighbours, "dict", "delete", name)
        assert neighbours.inrush("dict", "items", name).returncode == 1
    assert "named" in inrush(neighbours, "secret", "list")


PICKLERS = ("pickle", "cloudpickle", "marshal", "dill")


def test_nothing_but_the_program_that_calls_and_its_containers_unpickles() -> None:
    """Server, agent, launcher, core, command line and pages load no pickle; nothing else of ours evaluates data."""
    theirs = {"client", "guest", "parts.py", "by_value.py", "agent/images/call.py"}
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = str(path.relative_to(SOURCE))
        if name.split("/")[0] in theirs or name in theirs:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom) and "by_value" in ast.unparse(node):
                found.append(f"{name}: {ast.unparse(node)}")
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("eval", "exec", "compile") or called.rpartition(".")[0] in PICKLERS:
                    found.append(f"{name}: {called}")
    assert found == ["cli/commands/dict.py: pickle.Pickler"]


def test_a_file_of_a_journal_is_data(tmp_path: Path) -> None:
    """`inrush sim replay` of a pickle refuses it, and does not run it."""
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return (os.system, (f"touch {tmp_path / 'proof'}",))

    for content in (pickle.dumps(Evil()), pickle.dumps({"a": Evil()})):
        (tmp_path / "journal").write_bytes(content)
        command = [sys.executable, "-m", "inrush", "sim", "replay", str(tmp_path / "journal")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
    assert not (tmp_path / "proof").exists()
