"""Functions that are served over HTTP, from zero containers, and streaming both ways."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from running_server import RunningServer, poll

PROGRAM = """
import time
import inrush

app = inrush.App("web")
image = inrush.Image.host().pip_install("fastapi")

@app.function(image=image)
@inrush.fastapi_endpoint()
def hello(name: str = "world"):
    return {"hello": name}

@app.function()
@inrush.asgi_app()
def raw():
    async def serve(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            await send({"type": "http.response.body", "body": event["body"].upper(), "more_body": event["more_body"]})
            if not event["more_body"]:
                return
    return serve
"""


@pytest.fixture(scope="module")
def urls(server: RunningServer) -> Iterator[dict[str, str]]:
    """Where the deployed functions are served."""
    deploy = [sys.executable, "-m", "inrush", "deploy", str(server.write(PROGRAM))]
    done = subprocess.run(deploy, env=server.env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    find = (
        "import inrush, json; print(json.dumps({n: inrush.Function.from_name('web', n).get_web_url() for n in NAMES}))"
    )
    code = find.replace("NAMES", "('hello', 'raw')")
    told = subprocess.run([sys.executable, "-c", code], env=server.env, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stderr
    yield json.loads(told.stdout)
    stop = [sys.executable, "-m", "inrush", "app", "stop", "web"]
    assert subprocess.run(stop, env=server.env, capture_output=True, timeout=60).returncode == 0
    poll(lambda: not [c for c in server.containers() if c["app_name"] == "web"], 60, server.log)


def test_an_endpoint_answers_from_zero_containers(urls: dict[str, str]) -> None:
    assert httpx.get(urls["hello"], params={"name": "inrush"}, timeout=60).json() == {"hello": "inrush"}


def test_a_bad_request_is_the_endpoints_own_answer(urls: dict[str, str]) -> None:
    assert httpx.post(urls["hello"], timeout=60).status_code == 405


def test_a_body_and_a_response_are_streamed_through_an_asgi_app(urls: dict[str, str]) -> None:
    pieces = [bytes([97 + n % 26]) * 200_000 for n in range(20)]
    answer = httpx.post(urls["raw"], content=iter(pieces), timeout=60)
    assert answer.status_code == 200
    assert answer.content == b"".join(pieces).upper()


def test_a_list_of_apps_tells_the_urls_whole(server: RunningServer, urls: dict[str, str]) -> None:
    listed = server.inrush("app", "list").stdout
    assert f"hello is at {urls['hello']}\n" in listed
