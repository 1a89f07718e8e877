"""Containers reach the endpoints of their environment by the URL that they ask for, and nothing else of the server."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest

from running_server import RunningServer

PROGRAM = """
import json, urllib.error, urllib.request
import inrush

app = inrush.App("inside")


@app.function()
@inrush.asgi_app()
def web():
    async def served(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"set-cookie", b"a=b")]})
            await send({"type": "http.response.body", "body": f"{scope['root_path']} {scope['path']}".encode()})
    return served


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


@app.local_entrypoint()
def main(more: str = "[]"):
    url = of_web.remote()
    asked = [url + "/deep?x=1", url, of_pages.remote(), *json.loads(more)]
    told = [get.remote(each) for each in asked]
    print("TOLD " + json.dumps({"url": url, "told": told, "restricted": restricted.remote()}))
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
