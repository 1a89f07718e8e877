"""Tokens: their rights and environments. Every ask of a link, every message about calls and every route of the API is
tried with tokens that lack the right, or are for another environment."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import typing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import ConnectionClosed

from inrush import wire
from inrush.errors import AuthError
from inrush.server.api.apps import AppRoutes
from inrush.server.api.containers import ContainerRoutes
from inrush.server.api.dicts import DictRoutes
from inrush.server.api.route import Route
from inrush.server.api.secrets import SecretRoutes
from inrush.server.api.server import ServerRoutes
from inrush.server.api.streams import StreamRoutes
from inrush.server.api.trust import TrustRoutes
from inrush.server.links.asks import NEEDS
from inrush.server.links.sessions import OF_CALLS
from inrush.server.serve import Server
from inrush.server.trust.audit import Audit
from inrush.server.trust.principal import OWNER, RIGHTS, Principal
from inrush.wire import AppSpec, FunctionSpec, ScalePolicy

from .peers import DEADLINE_S, Agent, Client

F = FunctionSpec(name="f", module="m", qualname="f", scale=ScalePolicy(min_containers=1))
C = FunctionSpec(name="C", module="m", qualname="C", is_class=True, parameters=(wire.Parameter(name="x", type="int"),))
SEALED = (("KEY", "value"),)


async def token(server: Server, *rights: str, environment: str = "main", lasts_s: float = 0.0) -> str:
    name = f"{'-'.join(rights)} in {environment or 'all'} {len(server.tokens.all())}"
    _, text = await server.tokens.create(OWNER, name, rights, environment, lasts_s)
    return text


class Far:
    """A client with a token, over the WebSocket."""

    def __init__(self, server: Server, token: str, client: str = "cl-far") -> None:
        self._address = f"ws{server.endpoints.base.removeprefix('http')}/link"
        self._token, self._client, self._rid = token, client, 0
        self._came: list[Any] = []

    async def __aenter__(self) -> Far:
        self._socket = await connect_socket(self._address, proxy=None)
        await self.send(wire.Hello(self._client, self._token))
        self.first = await self.next()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()

    async def send(self, *messages: Any) -> None:
        await self._socket.send(wire.encode(list(messages)))

    async def next(self) -> Any:
        while not self._came:
            data = await asyncio.wait_for(self._socket.recv(), DEADLINE_S)
            assert isinstance(data, bytes)
            self._came += wire.to_client_decoder.decode(data)
        return self._came.pop(0)

    async def ask(self, body: Any) -> Any:
        """The answer, or the `Refused`."""
        self._rid += 1
        await self.send(wire.Ask(self._rid, body))
        while not isinstance(found := await self.next(), wire.Answer | wire.Refused):
            continue
        return found.result if isinstance(found, wire.Answer) else found


class Prod:
    """What environment `prod` has: ids and names."""

    def __init__(self, app: dict[str, Any], secret: str, dict_: str, blob: str, container: str) -> None:
        self.app, self.function, self.cls = app["app"], app["functions"]["f"], app["functions"]["C"]
        self.secret, self.dict, self.source, self.container = secret, dict_, blob, container


@pytest.fixture
async def prod(server: Server, client: Client) -> Prod:
    """An environment with an app that runs, a secret, a Dict with an item, a source and a call with its result."""
    await server.environments.create("prod")
    await server.environments.create("stage")
    agent = Agent(server, lambda method, payload: payload)
    source = await client.ask(wire.PutBlob(b"source", digest=SHA))
    spec = AppSpec(name="app", functions=(F, C))
    app = await client.ask(wire.StartApp(spec, deploy=True, environment="prod"))
    secret = await client.ask(wire.PutSecret(SEALED, "se", environment="prod"))
    made = await client.ask(wire.OpenDict("di", True, "prod"))
    await client.ask(wire.DictOp(made, "put", pairs=((b"k", b"Pv"),)))
    client.send(wire.StartCall("ca-prod", app["functions"]["f"], "spawn", payloads=(b"P1",)))
    await client.until(wire.Accepted)
    client.send(wire.AwaitCall("ca-prod"))
    await client.results("ca-prod", 1)
    await client.wait(lambda: agent.containers)
    return Prod(app, secret, made, source, next(iter(agent.containers)))


SHA = "41cf6794ba4200b839c53531555f0f3998df4cbb01a4d5cb0b94e3ca5e23947d"


def asks(of: Prod) -> list[Any]:
    """One ask of each kind about things of `prod`, by id where it has one, else by name."""
    named = AppSpec(name="app", functions=(F,))
    using = AppSpec(name="mine", functions=(msgspec.structs.replace(F, secrets=(of.secret,)),))
    return [
        wire.GetBlob(of.source),
        wire.BuildImage(wire.Recipe(base="debian_slim"), "app", (of.secret,)),
        wire.BuildImage(wire.Recipe(), "app", environment="prod"),
        wire.StartApp(named, environment="prod"),
        wire.StartApp(using),
        wire.StartApp(AppSpec(name="mine", functions=(msgspec.structs.replace(F, source=SHA),))),
        wire.StopApp(of.app),
        wire.StopApp("app", "prod"),
        wire.StopApp("app"),
        wire.FindFunction("app", "f", "prod"),
        wire.FindFunction("app", "f"),
        wire.FindFunction(of.app, "f"),
        wire.BindClass(of.cls, b'{"x":1}'),
        wire.OverrideScale(of.function, 3),
        wire.FunctionStats(of.function),
        wire.PutSecret(SEALED, "se", environment="prod"),
        wire.FindSecret("se", environment="prod"),
        wire.FindSecret("se"),
        wire.OpenDict("di", environment="prod"),
        wire.OpenDict("di"),
        *[wire.DictOp(of.dict, op, (b"k",)) for op in ("get", "pop", "contains", "len", "items", "clear")],
        wire.DictOp(of.dict, "put", pairs=((b"k", b"Pw"),)),
        wire.DeleteDict("di", "prod"),
        wire.DeleteDict("di"),
        wire.ListDicts("prod"),
        wire.FollowLogs(of.app),
        wire.FollowLogs("app", environment="prod"),
        wire.FollowLogs("app"),
        wire.FollowStates(of.app),
        wire.FollowStates("app", "prod"),
        wire.FindCall("ca-prod"),
    ]


def test_every_ask_declares_the_right_that_it_needs() -> None:
    assert set(NEEDS) == set(typing.get_args(wire.Request))
    assert set(NEEDS.values()) <= set(RIGHTS)
    of_calls = {kind for kind in typing.get_args(wire.FromClient) if hasattr(kind, "call")}
    assert of_calls == OF_CALLS


async def test_every_ask_is_refused_to_a_token_without_its_right(server: Server, prod: Prod) -> None:
    bodies = {type(body): body for body in asks(prod)}
    bodies |= {
        wire.PutBlob: wire.PutBlob(b"x"),
        wire.HasBlobs: wire.HasBlobs((prod.source,)),
        wire.CheckApp: wire.CheckApp(AppSpec(name="app")),
        wire.Interact: wire.Interact("python", "/tmp/door"),
    }
    assert set(bodies) == set(NEEDS)
    for kind, right in NEEDS.items():
        others = [other for other in RIGHTS if other not in (right, "admin")]
        async with Far(server, await token(server, *others, environment="prod"), f"cl-{kind.__name__}") as far:
            refused = await far.ask(bodies[kind])
            assert isinstance(refused, wire.Refused), kind
            assert (refused.code, right in refused.message) == ("PermissionDeniedError", True), (kind, refused)


async def test_every_ask_finds_nothing_of_another_environment(server: Server, prod: Prod) -> None:
    async with Far(server, await token(server, "admin", environment="stage")) as far:
        for body in asks(prod):
            refused = await far.ask(body)
            assert isinstance(refused, wire.Refused), (body, refused)
            assert refused.code == "NotFoundError", (body, refused)
        assert await far.ask(wire.HasBlobs((prod.source,))) == [prod.source]
        assert await far.ask(wire.ListDicts()) == []
        await far.send(wire.AwaitCall("ca-prod"), wire.StartCall("ca-mine", prod.function, payloads=(b"P1",)))
        refusals = [await far.next(), await far.next()]
        assert {(r.call, r.code) for r in refusals} == {("ca-prod", "NotFoundError"), ("ca-mine", "NotFoundError")}


async def test_what_an_environment_has_is_there_for_its_token(server: Server, prod: Prod) -> None:
    async with Far(server, await token(server, "call", environment="prod")) as far:
        assert (await far.ask(wire.FindFunction("app", "f")))["function"] == prod.function
        assert await far.ask(wire.OpenDict("di")) == prod.dict
        assert await far.ask(wire.DictOp(prod.dict, "get", (b"k",))) == b"Pv"
        assert (await far.ask(wire.FindCall("ca-prod")))["done"] == 1
        await far.send(wire.StartCall("ca-mine", prod.function, payloads=(b"P7",)))
        assert (await far.next()).payloads == (b"P7",)


async def test_calls_need_their_right(server: Server, prod: Prod) -> None:
    async with Far(server, await token(server, "deploy", "read", environment="prod")) as far:
        await far.send(wire.StartCall("ca-1", prod.function, payloads=(b"P1",)), wire.AwaitCall("ca-prod"))
        refusals = [await far.next(), await far.next()]
        assert [r.code for r in refusals] == ["PermissionDeniedError"] * 2
        await far.send(wire.CancelCall("ca-prod"))
        assert isinstance(await far.next(), wire.CallRefused)


# ── the API ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def routes(server: Server) -> list[Route]:
    parts = (AppRoutes, ContainerRoutes, DictRoutes, SecretRoutes, ServerRoutes, StreamRoutes, TrustRoutes)
    return [route for part in parts for route in part(server).routes()]


def test_every_route_declares_the_right_that_it_needs() -> None:
    assert typing.get_type_hints(Route)["right"]
    assert "right" not in Route._field_defaults


async def test_the_description_of_the_api_tells_the_right_of_each_route(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.endpoints.base, trust_env=False) as http:
        paths = (await http.get("/api/openapi.json")).json()["paths"]
    told = {(path, method): op["x-right"] for path, found in paths.items() for method, op in found.items()}
    for route in routes(server):
        right = told.pop((f"/api/v1{route.path}", route.method.lower()))
        assert right == (f"{route.right} (everywhere)" if route.everywhere else route.right)
    assert set(told.values()) == {"deploy"}, "commands over WebSockets are left"
    operations = [op for found in paths.values() for op in found.values()]
    assert all("environment" in {p["name"] for p in op["parameters"]} for op in operations)


async def ask(server: Server, route: Route, token: str, of: Prod, **query: str) -> httpx.Response:
    names = {"app": of.app, "id": of.container, "token": "nobody"}
    names["name"] = {"secrets": "se", "dicts": "di", "functions": "f"}.get(route.path.split("/")[1], "prod")
    body = {"/secrets": {"name": "x", "values": {"A": "b"}}, "/environments": {"name": "new"}, "/tokens": TOKEN}
    async with httpx.AsyncClient(trust_env=False, timeout=DEADLINE_S) as http:
        return await http.request(
            route.method,
            f"{server.endpoints.base}/api/v1{route.path.format(**names)}",
            headers={"authorization": f"Bearer {token}"},
            params=query,
            json=body.get(route.path, {}) if route.takes is not None else None,
        )


TOKEN = {"name": "new", "rights": ["read"], "environment": "prod"}


async def test_every_route_is_refused_to_a_token_without_its_right(server: Server, prod: Prod) -> None:
    for route in routes(server):
        others = [other for other in RIGHTS if other not in (route.right, "admin")]
        refused = await ask(server, route, await token(server, *others, environment=""), prod)
        assert (refused.status_code, refused.json()["code"]) == (403, "PermissionDeniedError"), route.path


async def test_every_route_tells_and_changes_nothing_of_another_environment(server: Server, prod: Prod) -> None:
    text = await token(server, "admin", environment="stage")
    for route in routes(server):
        for query in ({}, {"environment": "prod"}):
            answer = await ask(server, route, text, prod, **query)
            if answer.status_code == 200:
                assert route.method == "GET" or route.path in ("/secrets", "/tokens"), route.path
                assert not any(id in answer.text for id in (prod.app, prod.function, prod.container, prod.dict))
                assert '"prod"' not in answer.text, (route.path, answer.text)
            else:
                assert answer.status_code in (403, 404), (route.path, answer.text)
    assert [app.state for app in server.apps.running()] == ["deployed"]
    assert "prod" in server.environments


async def test_what_concerns_all_environments_needs_a_token_for_all(server: Server, prod: Prod) -> None:
    everywhere = {route.path for route in routes(server) if route.everywhere}
    assert everywhere == {"/shutdown", "/journal", "/pools", "/environments", "/environments/{name}"}
    text = await token(server, "admin", environment="prod")
    for route in [route for route in routes(server) if route.everywhere]:
        assert (await ask(server, route, text, prod)).status_code == 403, route.path


async def test_commands_in_containers_need_deploy_and_their_environment(server: Server, prod: Prod) -> None:
    paths = (f"/containers/{prod.container}/exec", f"/shell?function={prod.function}", "/shell?app=app&name=f")
    cases = (("prod", ("call", "read")), ("stage", ("admin",)))
    for environment, rights in cases:
        text = await token(server, *rights, environment=environment)
        for path in paths:
            address = f"ws{server.endpoints.base.removeprefix('http')}/api/v1{path}"
            async with connect_socket(
                address, proxy=None, additional_headers={"authorization": f"Bearer {text}"}
            ) as socket:
                with contextlib.suppress(ConnectionClosed):  # it is refused before it says what to run
                    await socket.send("{}")
                assert msgspec.json.decode(await socket.recv())["code"] == 126


# ── the life of a token ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_token_ends_and_who_uses_it_is_cut_off(server: Server, prod: Prod) -> None:
    text = await token(server, "call", environment="prod")
    (known,) = server.tokens.all()
    async with Far(server, text) as far:
        await server.tokens.revoke(OWNER, known.id)
        assert isinstance(await far.next(), wire.Rejected)
        with pytest.raises(ConnectionClosed):
            await far.next()
    async with Far(server, text) as far:
        assert (far.first.code, far.first.message.startswith("the token is")) == ("AuthError", True)


async def test_a_followed_log_ends_with_its_token(server: Server, prod: Prod) -> None:
    text = await token(server, "read", environment="prod")
    (known,) = server.tokens.all()
    url = f"{server.endpoints.base}/api/v1/apps/{prod.app}/logs"
    async with (
        httpx.AsyncClient(trust_env=False, timeout=DEADLINE_S) as http,
        http.stream("GET", url, params={"follow": 1}, headers={"authorization": f"Bearer {text}"}) as stream,
    ):
        assert stream.status_code == 200
        await server.tokens.revoke(OWNER, known.id)
        with pytest.raises(httpx.RemoteProtocolError):
            await stream.aread()


async def test_a_token_expires(server: Server, prod: Prod, monkeypatch: pytest.MonkeyPatch) -> None:
    text = await token(server, "call", environment="prod", lasts_s=60.0)
    async with Far(server, text) as far:
        assert isinstance(far.first, wire.Welcome)
        now = server.tokens.all()[0].principal.expires
        monkeypatch.setattr("inrush.server.trust.tokens.time.time", lambda: now)
        await far.send(wire.StartCall("ca-late", prod.function, payloads=(b"P1",)))
        assert isinstance(await far.next(), wire.Rejected)
    with pytest.raises(AuthError, match="expired"):
        server.tokens.principal(text)


async def test_nobody_takes_over_the_session_of_another(server: Server, prod: Prod) -> None:
    async with Far(server, await token(server, "call", environment="prod"), "cl-same") as first:
        assert isinstance(first.first, wire.Welcome)
        async with Far(server, await token(server, "admin", environment=""), "cl-same") as second:
            assert second.first.code == "PermissionDeniedError"


async def test_only_hashes_are_kept(server: Server) -> None:
    text = await token(server, "read")
    await server.store.flush()
    for path in server.home.glob("store.db*"):
        assert text.encode() not in path.read_bytes()
        assert text.rpartition("-")[2].encode() not in path.read_bytes()
    with sqlite3.connect(server.home / "store.db") as database:
        assert database.execute("SELECT count(*) FROM tokens").fetchone() == (1,)


async def test_an_admin_of_one_environment_makes_tokens_for_that_one_alone(server: Server, prod: Prod) -> None:
    text = await token(server, "admin", environment="prod")
    headers, base = {"authorization": f"Bearer {text}"}, f"{server.endpoints.base}/api/v1"
    async with httpx.AsyncClient(base_url=base, headers=headers, trust_env=False, timeout=DEADLINE_S) as http:
        made = await http.post("/tokens", json=TOKEN)
        assert (made.status_code, made.json()["environment"]) == (200, "prod")
        for environment, status in (("", 403), ("stage", 404), ("main", 404)):
            refused = await http.post("/tokens", json={**TOKEN, "name": "other", "environment": environment})
            assert refused.status_code == status, environment
        assert {told["environment"] for told in (await http.get("/tokens")).json()} == {"prod"}
        owners = await server.tokens.create(OWNER, "all", ("read",), "", 0.0)
        assert (await http.delete(f"/tokens/{owners[0].id}")).status_code == 404
        assert (await http.delete("/tokens/new")).status_code == 200


async def test_the_audit_log_tells_who_did_what(server: Server, prod: Prod, client: Client) -> None:
    text = await token(server, "admin", environment="prod")
    async with Far(server, text) as far:
        await far.ask(wire.PutSecret(SEALED, "new"))
        await far.ask(wire.StopApp("app"))
    acts = server.audit.latest(100, OWNER)
    told = [(act["who"], act["what"], act["environment"]) for act in acts]
    assert told[0] == ("the owner", "deploy", "prod")
    assert told[-2:] == [("admin in prod 0", "put secret", "prod"), ("admin in prod 0", "stop", "prod")]
    assert "value" not in (server.home / "audit.log").read_text()
    assert (server.home / "audit.log").stat().st_mode & 0o777 == 0o600
    stage = (await server.tokens.create(OWNER, "s", ("admin",), "stage", 0.0))[0].principal
    assert server.audit.latest(100, stage) == []


async def test_the_audit_log_tells_who_was_refused_what(server: Server, prod: Prod) -> None:
    text = await token(server, "read", environment="stage")
    async with Far(server, text) as far:
        await far.ask(wire.StopApp("app"))
        await far.ask(wire.FollowLogs("app", environment="prod"))
        await far.send(wire.StartCall("ca-x", prod.function))
        assert isinstance(await far.next(), wire.CallRefused)
    async with httpx.AsyncClient(base_url=f"{server.endpoints.base}/api/v1", trust_env=False) as http:
        for shown, status in ((text, 403), ("it-0-guessed", 401)):
            headers = {"authorization": f"Bearer {shown}"}
            found = await http.post("/secrets", json={"name": "se", "values": {}}, headers=headers)
            assert found.status_code == status
    told = [(act["who"], act["what"], act["about"]) for act in server.audit.latest(100, OWNER, refused=True)]
    assert told == [
        ("read in stage 0", "StopApp", ""),
        ("read in stage 0", "another environment", "prod"),
        ("read in stage 0", "StartCall", ""),
        ("read in stage 0", "Create or replace a secret", ""),
        ("somebody without a valid token", "a wrong token", ""),
    ]
    assert "guessed" not in (server.home / "refused.log").read_text()
    prods = (await server.tokens.create(OWNER, "p", ("admin",), "prod", 0.0))[0].principal
    assert server.audit.latest(100, prods, refused=True) == []


def test_who_is_refused_often_pushes_nothing_out_of_the_audit_log(tmp_path: Path) -> None:
    audit, weak = Audit(tmp_path, refused_limit_bytes=4000), Principal("to-1", "weak", frozenset())
    audit.note(OWNER, "deploy", "main", "app")
    for _ in range(1000):
        audit.refused(weak, "StopApp")
    assert [act.get("times", 1) for act in audit.latest(10, OWNER, refused=True)] == [1, 999]
    for n in range(5000):
        audit.refused(weak, f"ask {n}")
    assert sum(path.stat().st_size for path in tmp_path.glob("refused.log*")) <= 4000
    assert audit.latest(10, OWNER, refused=True)[-1]["what"] == "ask 4999"
    assert [act["what"] for act in audit.latest(10, OWNER)] == ["deploy"]
    audit.close()


# ── ids of calls ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("total", [1, 3, -1])
async def test_the_id_of_a_call_that_was_saved_is_of_no_use_to_another(
    server: Server, prod: Prod, client: Client, total: int
) -> None:
    """Neither to read its results, nor to put others beside them."""
    spec = AppSpec(name="mine", functions=(F,))
    mine = (await client.ask(wire.StartApp(spec, deploy=True, environment="stage")))["functions"]["f"]
    async with Far(server, await token(server, "call", environment="stage")) as far:
        forged = (b"P7",) * max(total, 1)
        await far.send(
            wire.StartCall("ca-prod", mine, "spawn", payloads=forged, total=total),
            wire.AwaitCall("ca-prod"),
            wire.Inputs("ca-prod", 3, (b"P8",)),
            wire.EndInputs("ca-prod", 4),
        )
        refused = await far.next()
        while not isinstance(refused, wire.CallRefused):
            assert not isinstance(refused, wire.Accepted)
            assert not isinstance(refused, wire.Results) or b"P1" not in refused.payloads
            refused = await far.next()
        assert isinstance(await far.ask(wire.FindCall("ca-prod")), wire.Refused)
    await server.store.flush()
    assert (await client.ask(wire.FindCall("ca-prod"))) | {"function": ""} == {
        "function": "", "kind": "spawn", "inputs": 1, "done": 1,
    }  # fmt: skip
    client.send(wire.AwaitCall("ca-prod"))
    assert await client.results("ca-prod", 1) == {0: (0, b"P1")}


async def test_a_call_that_is_under_way_is_not_joined_by_another(server: Server, prod: Prod, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload, node="no-slow")
    agent.hold = True
    spec = AppSpec(name="slow", functions=(F,))
    slow = (await client.ask(wire.StartApp(spec, deploy=True, environment="prod")))["functions"]["f"]
    client.send(wire.StartCall("ca-slow", slow, "spawn", payloads=(b"P1",), total=-1))
    async with Far(server, await token(server, "call", environment="stage")) as far:
        messages = [
            wire.StartCall("ca-slow", slow, "spawn", payloads=(b"P2",)),
            wire.AwaitCall("ca-slow"),
            wire.ResumeCall("ca-slow"),
            wire.Inputs("ca-slow", 1, (b"P2",)),
        ]
        for message in messages:
            await far.send(message)
            assert isinstance(await far.next(), wire.CallRefused | wire.Resend)
        await far.send(wire.EndInputs("ca-slow", 2), wire.CancelCall("ca-slow", True), wire.ForgetCall("ca-slow"))
        assert (await far.ask(wire.FindCall("ca-slow"))).code == "NotFoundError"
    client.send(wire.EndInputs("ca-slow", 1), wire.AwaitCall("ca-slow"))
    agent.release()
    assert (await client.results("ca-slow", 1))[0][1] in (b"P1",)


# ── blobs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def reference(blob: str, size: int) -> bytes:
    return b"B" + msgspec.json.encode({"id": blob, "bytes": size})


async def test_the_id_of_a_blob_is_of_no_use_in_another_environment(server: Server, prod: Prod, client: Client) -> None:
    """Neither to read it, nor to have a function of one's own read it; that of a result is, to whoever it is for."""
    made = await client.ask(wire.PutBlob(b"of the owner"))
    async with Far(server, await token(server, "call", environment="prod"), "cl-prod") as theirs:
        large = await theirs.ask(wire.PutBlob(b"of prod"))
        parts = await theirs.ask(wire.PutBlob(b"in ", last=False))
        parts = await theirs.ask(wire.PutBlob(b"parts", upload=parts))
        assert await theirs.ask(wire.GetBlob(large)) == b"of prod"
        assert await theirs.ask(wire.GetBlob(parts)) == b"in parts"
        await theirs.send(wire.StartCall("ca-large", prod.function, payloads=(reference(large, 7),)))
        assert (await theirs.next()).payloads == (reference(large, 7),)
    spec = AppSpec(name="mine", functions=(F,))
    mine = (await client.ask(wire.StartApp(spec, deploy=True, environment="stage")))["functions"]["f"]
    async with Far(server, await token(server, "admin", environment="stage")) as far:
        for blob in (made, large, parts, prod.source, large[:35], large[:-1] + ("0" if large[-1] != "0" else "1")):
            assert (await far.ask(wire.GetBlob(blob))).code == "NotFoundError"
            for message in (
                wire.StartCall("ca-mine", mine, payloads=(reference(blob, 7),)),
                wire.Inputs("ca-mine", 0, (reference(blob, 7),)),
            ):
                await far.send(message)
                assert (await far.next()).code == "PermissionDeniedError"
            pickled = msgspec.structs.replace(F, pickled=blob)
            assert (await far.ask(wire.StartApp(AppSpec(name="other", functions=(pickled,))))).code == "NotFoundError"
    async with Far(server, await token(server, "call", environment="prod"), "cl-owner") as theirs:
        client.send(wire.StartCall("ca-gift", prod.function, "spawn", payloads=(reference(made, 12),)))
        await client.until(wire.Accepted)
        assert (await theirs.ask(wire.GetBlob(made))).code == "NotFoundError"
        await theirs.send(wire.AwaitCall("ca-gift"))
        assert (await theirs.next()).payloads == (reference(made, 12),)
        assert await theirs.ask(wire.GetBlob(made)) == b"of the owner"


async def test_a_blob_that_a_token_put_is_its_environments_after_a_restart(opened: Any, home: Any) -> None:
    async with opened() as server:
        await server.environments.create("prod")
        text = await token(server, "call", environment="prod")
        async with Far(server, text) as far:
            blob = await far.ask(wire.PutBlob(b"lasting"))
    async with opened() as server:
        async with Far(server, text) as far:
            assert await far.ask(wire.GetBlob(blob)) == b"lasting"
