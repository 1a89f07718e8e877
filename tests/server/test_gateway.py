"""Web functions over HTTP and WebSockets, with a peer that answers as a guest would."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import InvalidStatus

from inrush import frames, wire
from inrush.server import serve
from inrush.server.apps.endpoints import sanitise
from inrush.server.gateway import asgi
from inrush.server.serve import Server
from inrush.wire import FunctionSpec, Status, Web

from .peers import Agent, Client

F = FunctionSpec(name="f", module="m", qualname="f", web=(("", Web(kind="asgi")),))


def items(run: wire.Run, *messages: tuple[dict[str, Any], bytes]) -> list[Any]:
    payloads = tuple(asgi.pack(head, body) for head, body in messages)
    return [wire.Yielded(run.container, run.call, 0, 0, payloads)]


def ended(run: wire.Run, status: Status = Status.OK, payload: bytes = b"P") -> list[Any]:
    return [wire.Ran(run.container, run.call, (0,), (int(status),), (payload,))]


START = ({"type": "http.response.start", "status": 201, "headers": [["x-answer", "yes"]]}, b"")


def opened(run: wire.Run) -> tuple[dict[str, Any], bytes]:
    """What the guest sees of a request: its scope and its first bytes."""
    head, _, body = run.payloads[0][1:].partition(b"\n")
    return json.loads(head), body


class Site:
    """An agent whose containers echo requests: head and body come back as JSON."""

    def __init__(self, server: Server) -> None:
        self.agent = Agent(server, lambda method, payload: payload)
        self.bodies: dict[str, bytes] = {}
        self.runs: dict[str, wire.Run] = {}
        self.agent.on[wire.Run] = self.run
        self.agent.on[wire.Feed] = self.feed

    def run(self, run: wire.Run) -> list[Any]:
        head, body = opened(run)
        self.runs[run.call], self.bodies[run.call] = run, body
        return self.answer(run) if head["last"] else []

    def feed(self, feed: wire.Feed) -> list[Any]:
        self.bodies[feed.call] += feed.data
        return self.answer(self.runs[feed.call]) if feed.last and not feed.gone else []

    def answer(self, run: wire.Run) -> list[Any]:
        scope = opened(run)[0]["scope"]
        told = {"scope": scope, "bytes": len(self.bodies[run.call])}
        rest = {"type": "http.response.body", "more_body": True}
        last = {"type": "http.response.body", "more_body": False}
        return [*items(run, START, (rest, json.dumps(told).encode()), (last, b"")), *ended(run)]


@pytest.fixture
async def web(client: Client) -> str:
    """The endpoint's address."""
    url: str = (await client.start_app(F, deploy=True))["urls"]["f"]
    return url


async def test_a_request_reaches_its_function_from_zero_containers(server: Server, web: str) -> None:
    site = Site(server)
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{web}/some/path?a=1", headers={"x-mine": "ä".encode()})
    assert (answer.status_code, answer.headers["x-answer"]) == (201, "yes")
    scope = answer.json()["scope"]
    assert scope["path"] == "/w/app-f/some/path"
    assert scope["root_path"] == "/w/app-f"
    assert (scope["method"], scope["query_string"]) == ("GET", "a=1")
    assert ["x-mine", "ä".encode().decode("latin-1")] in scope["headers"]
    assert len(site.agent.got(wire.StartContainer)) == 1


async def test_an_endpoint_is_served_under_its_own_host_too(server: Server, web: str) -> None:
    Site(server)
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(server.endpoints.base + "/x", headers={"host": "app-f.localhost"})
    assert (answer.json()["scope"]["path"], answer.json()["scope"]["root_path"]) == ("/x", "")


async def test_a_body_is_streamed_to_the_function_in_pieces(server: Server, web: str) -> None:
    site = Site(server)

    async def body() -> Any:
        for _ in range(20):
            yield b"x" * 50_000
            await asyncio.sleep(0)

    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{web}/", content=body())
    assert answer.json()["bytes"] == 1_000_000
    assert len(site.agent.got(wire.Feed)) > 1


async def test_a_response_is_streamed_as_it_comes(server: Server, client: Client, web: str) -> None:
    agent = Agent(server, lambda method, payload: payload)
    agent.hold = True
    async with httpx.AsyncClient(trust_env=False) as http:
        async with asyncio.TaskGroup() as group:
            pieces: asyncio.Queue[bytes] = asyncio.Queue()

            async def read() -> None:
                async with http.stream("GET", f"{web}/") as answer:
                    async for piece in answer.aiter_raw():
                        await pieces.put(piece)

            group.create_task(read())
            await client.wait(lambda: agent.held)
            run = agent.held[0]
            more = {"type": "http.response.body", "more_body": True}
            agent.say(*items(run, START, (more, b"first")))
            assert await pieces.get() == b"first"
            agent.say(wire.Yielded(run.container, run.call, 0, 2, (asgi.pack(more, b"second"),)))
            assert await pieces.get() == b"second"
            last = asgi.pack({"type": "http.response.body"}, b"")
            agent.say(wire.Yielded(run.container, run.call, 0, 3, (last,)), *ended(run))


async def test_a_client_that_leaves_cancels_its_request(server: Server, client: Client, web: str) -> None:
    agent = Agent(server, lambda method, payload: payload)
    agent.hold = True
    async with httpx.AsyncClient(trust_env=False) as http:
        task = asyncio.create_task(http.get(f"{web}/"))
        await client.wait(lambda: agent.held)
        task.cancel()
    await client.wait(lambda: agent.got(wire.CancelRun))
    assert agent.got(wire.Feed)[0].gone
    await client.wait(lambda: len(server.calls) == 0)


async def test_a_container_that_dies_under_a_request_is_a_502(server: Server, client: Client, web: str) -> None:
    agent = Agent(server, lambda method, payload: payload)
    agent.hold = True
    async with httpx.AsyncClient(trust_env=False) as http:
        task = asyncio.create_task(http.get(f"{web}/"))
        await client.wait(lambda: agent.held)
        agent.say(wire.ContainerEnded(agent.held[0].container, Status.CRASHED, "killed by signal 9"))
        answer = await task
    assert answer.status_code == 502
    assert answer.json()["code"] == "ExecutionError"


async def test_a_server_that_ends_lets_a_request_finish_and_takes_no_more(
    server: Server, client: Client, web: str
) -> None:
    site = Site(server)
    site.agent.hold = True
    del site.agent.on[wire.Run]
    async with httpx.AsyncClient(trust_env=False) as http:
        task = asyncio.create_task(http.get(f"{web}/"))
        await client.wait(lambda: site.agent.held)
        server.ask_to_end("somebody asked")
        closing = asyncio.create_task(server.wait_closed())
        await client.wait(lambda: server.gateway._ending, "the end")
        refused = await http.get(f"{web}/")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "the server is ending" in refused.json()["message"]
        assert not closing.done()
        run = site.agent.held[0]
        site.bodies[run.call] = b""
        site.agent.say(*site.answer(run))
        assert (await task).status_code == 201
        await asyncio.wait_for(closing, 20)


async def test_a_request_that_does_not_finish_when_the_server_ends_is_a_503(
    server: Server, client: Client, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "WEB_GRACE_S", 0.1)
    agent = Agent(server, lambda method, payload: payload)
    agent.hold = True
    async with httpx.AsyncClient(trust_env=False) as http:
        task = asyncio.create_task(http.get(f"{web}/"))
        await client.wait(lambda: agent.held)
        server.ask_to_end("somebody asked")
        await asyncio.wait_for(server.wait_closed(), 20)
        answer = await task
    assert answer.status_code == 503
    assert "the server is ending" in answer.json()["message"]


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("/login?a=1", "/w/app-f/login?a=1"),
        ("http://HOST/login", "http://HOST/w/app-f/login"),
        ("/w/app-f/login", "/w/app-f/login"),
        ("http://HOST/w/other/", "http://HOST/w/other/"),
        ("login", "login"),
        ("https://example.org/login", "https://example.org/login"),
        ("//example.org/login", "//example.org/login"),
    ],
)
async def test_redirects_of_an_app_stay_below_its_endpoint(server: Server, web: str, said: str, seen: str) -> None:
    agent = Agent(server, lambda method, payload: payload)
    host = server.endpoints.base.removeprefix("http://")
    location = [["location", said.replace("HOST", host)]]
    start = ({"type": "http.response.start", "status": 307, "headers": location}, b"")
    agent.on[wire.Run] = lambda run: [*items(run, start, ({"type": "http.response.body"}, b"")), *ended(run)]
    async with httpx.AsyncClient(trust_env=False) as http:
        below = await http.get(f"{web}/")
        own_host = await http.get(f"{server.endpoints.base}/", headers={"host": "app-f.localhost"})
    assert below.headers["location"] == seen.replace("HOST", host)
    assert own_host.headers["location"] == said.replace("HOST", host)


async def test_a_full_queue_answers_429_and_when_to_come_again(server: Server, client: Client, web: str) -> None:
    server.calls.max_queued = 1
    async with httpx.AsyncClient(trust_env=False) as http:
        waiting = asyncio.create_task(http.get(f"{web}/"))
        await client.wait(lambda: len(server.calls) == 1)
        answer = await http.get(f"{web}/")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        Site(server)
        assert (await waiting).status_code == 201


async def test_failures_of_the_app_have_statuses_of_their_own(server: Server, web: str) -> None:
    agent = Agent(server, lambda method, payload: payload)
    seen = {}
    async with httpx.AsyncClient(trust_env=False) as http:
        for status in (Status.ERROR, Status.TIMEOUT, Status.STARTUP, Status.OK):
            agent.on[wire.Run] = lambda run, status=status: ended(run, status, wire.system_failure("Error", "words"))
            seen[status] = (await http.get(f"{web}/")).status_code
        unknown = await http.get(f"{server.endpoints.base}/w/nothing/")
    assert seen == {Status.ERROR: 500, Status.TIMEOUT: 504, Status.STARTUP: 502, Status.OK: 500}
    assert unknown.status_code == 404
    assert "nothing is served" in unknown.json()["message"]


async def test_what_went_wrong_is_in_the_apps_log_and_callers_hear_an_id(server: Server, client: Client) -> None:
    agent = Agent(server, lambda method, payload: payload)
    app = await client.start_app(F, deploy=True)
    failure = wire.system_failure("StartupError", "exited with 'password hunter2'", "Oops", "Traceback hunter2")
    agent.on[wire.Run] = lambda run: ended(run, Status.STARTUP, failure)
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{app['urls']['f']}/")
    assert (answer.status_code, "hunter2" in answer.text) == (502, False)
    id = answer.headers["x-request-id"]
    assert answer.json()["request"] == id
    lines = [line for line in server.logs.latest(app["app"], 100) if id in line.text]
    assert len(lines) == 1
    assert "password hunter2" in lines[0].text
    with pytest.raises(InvalidStatus) as refused:
        async with connect_socket("ws" + app["urls"]["f"].removeprefix("http") + "/", proxy=None):
            pass
    response = refused.value.response
    assert (response.status_code, b"hunter2" in response.body) == (502, False)
    assert any(response.headers["x-request-id"] in line.text for line in server.logs.latest(app["app"], 100))


async def test_a_web_socket_is_passed_on_both_ways(server: Server, web: str) -> None:
    agent = Agent(server, lambda method, payload: payload)
    count = iter(range(100))

    def say(run: wire.Run | wire.Feed, head: dict[str, Any], body: bytes = b"") -> Any:
        return wire.Yielded(run.container, run.call, 0, next(count), (asgi.pack(head, body),))

    def feed(message: wire.Feed) -> list[Any]:
        told, _, body = message.data[1:].partition(b"\n")
        event = json.loads(told)
        if event["type"] == "websocket.disconnect":
            return []
        return [say(message, {"type": "websocket.send", "text": event.get("text")} if "text" in event else SEND, body)]

    SEND = {"type": "websocket.send"}
    agent.on[wire.Run] = lambda run: [say(run, {"type": "websocket.accept"})]
    agent.on[wire.Feed] = feed
    async with connect_socket("ws" + web.removeprefix("http") + "/chat", proxy=None) as socket:
        await socket.send("words")
        assert await socket.recv() == "words"
        await socket.send(b"\x00bytes")
        assert await socket.recv() == b"\x00bytes"
    scope = opened(agent.got(wire.Run)[0])[0]["scope"]
    assert (scope["type"], scope["path"]) == ("websocket", "/w/app-f/chat")


async def test_a_web_socket_to_nowhere_is_refused(server: Server) -> None:
    address = "ws" + server.endpoints.base.removeprefix("http") + "/w/nothing/"
    with pytest.raises(InvalidStatus):
        async with connect_socket(address, proxy=None):
            pass


async def test_labels_are_stable_and_short(client: Client) -> None:
    spec = FunctionSpec(
        name="Site", is_class=True, web=(("a_page", Web(kind="fastapi")), ("b", Web(kind="asgi", label="Mine")))
    )
    deployed = (await client.start_app(spec, name="My App", deploy=True))["urls"]
    assert deployed["Site.a_page"].endswith("/w/my-app-site-a-page")
    assert deployed["Site.b"].endswith("/w/mine")
    ephemeral = (await client.start_app(spec, name="My App"))["urls"]
    assert ephemeral["Site.b"].endswith("/w/mine-dev")
    refused = await client.ask(wire.StartApp(wire.AppSpec(name="other", functions=(spec,)), deploy=True))
    assert refused.code == "AlreadyExistsError"


def test_a_long_label_ends_with_a_hash_of_all_of_it() -> None:
    one, two = sanitise("a" * 100 + "1"), sanitise("a" * 100 + "2")
    assert len(one) == len(two) == 63
    assert one != two


async def test_a_response_waits_for_a_client_that_reads_slowly(server: Server, client: Client, web: str) -> None:
    agent = Agent(server, lambda method, payload: payload)
    agent.hold = True
    granted = lambda: frames.AHEAD_PIECES + sum(grant.credit for grant in agent.got(wire.GrantRun))  # noqa: E731
    piece = asgi.pack({"type": "http.response.body", "more_body": True}, b"x" * 100_000)
    async with httpx.AsyncClient(trust_env=False) as http:
        request = http.build_request("GET", f"{web}/")
        sending = asyncio.create_task(http.send(request, stream=True))
        await client.wait(lambda: agent.held)
        run = agent.held[0]
        agent.say(*items(run, START))
        answer = await sending
        sent = 1
        while sent < granted():
            sent += 1
            agent.say(wire.Yielded(run.container, run.call, 0, sent - 1, (piece,)))
            await asyncio.sleep(0.001)
        assert sent < 300, "credit ends while nobody reads"
        reading = asyncio.create_task(answer.aread())
        await client.wait(lambda: granted() > sent)
        last = asgi.pack({"type": "http.response.body"}, b"")
        agent.say(wire.Yielded(run.container, run.call, 0, sent, (last,)), *ended(run))
        assert len(await reading) == (sent - 1) * 100_000


async def test_an_app_that_has_answered_may_go_on_in_the_background(server: Server, client: Client, web: str) -> None:
    agent = Agent(server, lambda method, payload: payload)
    last = ({"type": "http.response.body"}, b"done")
    runs: list[wire.Run] = []
    agent.on[wire.Run] = lambda run: [runs.append(run), *items(run, START, last)][1:]
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"{web}/")).text == "done"
    assert await client.ask(wire.HasBlobs(())) == []
    assert len(server.calls) == 1
    agent.say(*ended(runs[0]))
    assert len(server.calls) == 0
    assert not agent.got(wire.CancelRun)


@pytest.mark.parametrize(
    "payload",
    [
        b"A",
        b'A{"type": "http.response.start"}\n',
        b'A{"type": "http.response.start", "status": "200"}\n',
        b'A{"type": "http.response.start", "status": 99}\n',
        b'A{"type": "http.response.start", "status": 1000}\n',
        b'A{"type": "http.response.start", "status": 200, "headers": 5}\n',
        b'A{"type": "http.response.start", "status": 200, "headers": [["a"]]}\n',
        b'A{"type": "http.response.start", "status": 200, "headers": [["a", 5]]}\n',
        b'A{"type": "http.response.start", "status": 200, "headers": [["a", "b\\r\\nc: d"]]}\n',
        b'A{"type": "http.response.start", "status": 200, "headers": [["a b", "c"]]}\n',
        'A{"type": "http.response.start", "status": 200, "headers": [["a", "\u20ac"]]}\n'.encode(),
        b'A{"type": "http.response.body"}\nfirst',
        b'A{"type": "http.disconnect"}\n',
        b'A{"type": "websocket.accept"}\n',
        b'A{"type": []}\n',
        b"A[" + b"[" * 100_000,
    ],
)
async def test_a_container_that_answers_with_what_is_no_http_is_a_502(
    server: Server, web: str, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    agent = Agent(server, lambda method, payload: payload)
    agent.on[wire.Run] = lambda run: [wire.Yielded(run.container, run.call, 0, 0, (payload,)), *ended(run)]
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{web}/")
    assert answer.status_code == 502
    assert "defect" not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.send", "text": 5},
        {"type": "websocket.close", "code": 1005},
        {"type": "websocket.close", "code": "x"},
        {"type": "websocket.accept", "subprotocol": "a\r\nb: c"},
        {"type": "http.response.body"},
    ],
)
async def test_a_container_that_speaks_as_no_web_socket_is_refused(
    server: Server, web: str, message: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    agent = Agent(server, lambda method, payload: payload)
    agent.on[wire.Run] = lambda run: [wire.Yielded(run.container, run.call, 0, 0, (asgi.pack(message),))]
    with pytest.raises(InvalidStatus) as refused:
        async with connect_socket("ws" + web.removeprefix("http") + "/", proxy=None):
            pass
    assert refused.value.response.status_code == 502
    assert "Traceback" not in caplog.text
