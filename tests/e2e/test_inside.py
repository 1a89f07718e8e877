"""Containers reach the endpoints of their environment by the URL that they ask for, and nothing else of the server."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest

from running_server import RunningServer

PROGRAM = """
import json, socket, urllib.error, urllib.parse, urllib.request
import inrush

app = inrush.App("inside")


@app.function()
@inrush.asgi_app()
def web():
    async def served(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", b"a=b")]})
            await send({"type": "http.response.body", "body": f"{scope['root_path']} {scope['path']}".encode()})
        else:
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "by a socket"})
            await send({"type": "websocket.close"})
    return served


@app.function(restrict_modal_access=True)
@inrush.asgi_app()
def blind():
    return web.local()


@app.cls()
class Pages:
    @inrush.asgi_app()
    def page(self):
        async def served(scope, receive, send):
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"of a class"})
        return served


@app.function()
def of_web():
    return web.get_web_url()


@app.function()
def of_blind():
    return blind.get_web_url()


@app.function()
def of_pages():
    return Pages().page.get_web_url()


@app.function()
def get(url):
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode(), answer.headers["set-cookie"]
    except urllib.error.HTTPError as error:
        return error.code, "", None
    except OSError as error:
        return 0, str(error), None


@app.function(restrict_modal_access=True)
def restricted():
    try:
        return web.get_web_url()
    except Exception as error:
        return type(error).__name__


UPGRADE = ["Host: x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
KEY = "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg=="


@app.function()
def by_socket(url):
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as end:
        lines = [f"GET {parts.path}/ HTTP/1.1", *UPGRADE, KEY, "", ""]
        end.sendall("\\r\\n".join(lines).encode())
        said = b""
        while b"by a socket" not in said and (more := end.recv(4096)):
            said += more
    return said.decode("latin-1")


@app.function()
def flood(url):
    parts, held = urllib.parse.urlsplit(url), []
    for _ in range(700):
        try:
            held.append(socket.create_connection((parts.hostname, parts.port), timeout=5))
        except OSError:
            pass
    return len(held), get.remote(url)


@app.local_entrypoint()
def main(more: str = "[]"):
    url = of_web.remote()
    asked = [url + "/deep?x=1", url, of_pages.remote(), *json.loads(more)]
    told = [get.remote(each) for each in asked]
    about = {"url": url, "told": told, "restricted": restricted.remote(), "blind": of_blind.remote()}
    if not json.loads(more):
        about |= {"socket": by_socket.remote(url), "flood": flood.remote(url)}
    print("TOLD " + json.dumps(about))
"""


def told(server: RunningServer, *more: str, environment: str = "main") -> dict[str, object]:
    done = server.run(server.write(PROGRAM), "--more", json.dumps(more), INRUSH_ENVIRONMENT=environment)
    line = next(line for line in done.stdout.splitlines() if line.startswith("TOLD "))
    return dict(json.loads(line.removeprefix("TOLD ")))


@pytest.fixture(scope="module")
def first(server: RunningServer) -> dict[str, object]:
    return told(server)


def test_an_endpoint_answers_at_the_url_that_a_container_asks_for(first: dict[str, object]) -> None:
    root = urlsplit(str(first["url"])).path
    deep, bare, method = list(first["told"])  # type: ignore[call-overload]
    assert deep == [200, f"{root} {root}/deep", "a=b"]
    assert bare == [200, f"{root} {root}/", f"a=b; Path={root}"], "the cookie is for this endpoint alone"
    assert method == [200, "of a class", None]


def test_code_that_may_ask_for_nothing_gets_no_url(first: dict[str, object]) -> None:
    assert not str(first["restricted"]).startswith("http")


def test_the_key_that_an_endpoint_sees_opens_no_other(server: RunningServer, first: dict[str, object]) -> None:
    web, blind = urlsplit(str(first["url"])), urlsplit(str(first["blind"]))
    crossed = f"http://{web.netloc}/{blind.path.split('/')[1]}/w/{web.path.split('/')[3]}"
    own, other = list(told(server, str(first["blind"]), crossed)["told"])[3:]  # type: ignore[call-overload]
    assert own[1].split()[0] == blind.path, "it sees its own"
    assert other[0] == 404


def test_web_sockets_are_served_too(first: dict[str, object]) -> None:
    assert str(first["socket"]).startswith("HTTP/1.1 101 ")
    assert "by a socket" in str(first["socket"])


def test_who_holds_connections_takes_them_from_nobody_else(first: dict[str, object]) -> None:
    held, answer = first["flood"]  # type: ignore[misc]
    assert held > 512, "more than one peer may have"
    assert answer[0] == 200


def test_nothing_but_endpoints_is_served_to_containers(server: RunningServer, first: dict[str, object]) -> None:
    parts = urlsplit(str(first["url"]))
    base, key = f"http://{parts.netloc}", parts.path.split("/")[1]
    paths = ["/", "/healthz", "/api/openapi.json", "/api/v1/apps", "/link", parts.path.removeprefix(f"/{key}")]
    below = [f"/{key}{path}" for path in paths[:5]]
    refused = list(told(server, *[base + path for path in paths + below])["told"])[3:]  # type: ignore[call-overload]
    assert refused == [[404, "", None]] * 11


def test_the_port_of_the_server_stays_out_of_reach(server: RunningServer, first: dict[str, object]) -> None:
    described = json.loads((server.home / "run" / "server.json").read_text())
    host, port = urlsplit(str(first["url"])).hostname, urlsplit(described["url"]).port
    (answer,) = list(told(server, f"http://{host}:{port}/healthz")["told"])[3:]  # type: ignore[call-overload]
    assert answer[0] == 0
    assert "refused" in answer[1]


def test_a_key_of_one_environment_opens_none_of_another(server: RunningServer, first: dict[str, object]) -> None:
    assert server.inrush("environment", "create", "beside").returncode == 0
    try:
        other = str(told(server, environment="beside")["url"])
        mine, theirs = urlsplit(str(first["url"])), urlsplit(other)
        assert mine.path.split("/")[1] != theirs.path.split("/")[1]
        crossed = f"http://{mine.netloc}/{theirs.path.split('/')[1]}/w/{mine.path.split('/')[3]}"
        assert list(told(server, crossed, environment="beside")["told"])[3][0] == 404  # type: ignore[call-overload]
    finally:
        assert server.inrush("environment", "delete", "beside", "-y").returncode == 0
