"""What a server runs out of, descriptors and its launcher: who is told, who waits, and how soon it is there again."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from running_server import RunningServer, poll

ENDS_S = 5.0
"""The end of a server that waits for nothing takes less than a second; the machine may be busy."""

LIMIT = """
import inrush, resource
app = inrush.App("limit", image=inrush.Image.host())
@app.function()
def f():
    return resource.getrlimit(resource.RLIMIT_NOFILE)
@app.local_entrypoint()
def main():
    print(f.remote())
"""


def test_a_server_raises_its_limit_of_open_files_and_containers_keep_the_one_before(own_server: RunningServer) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    try:
        own_server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    limits = Path(f"/proc/{own_server.pid}/limits").read_text().splitlines()
    assert next(line.split()[3:5] for line in limits if line.startswith("Max open files")) == [str(before[1])] * 2
    assert str((1024, before[1])) in own_server.run(LIMIT).stdout


SLOW = """
import asyncio, inrush
app = inrush.App("slow", image=inrush.Image.host())
@app.function()
@inrush.asgi_app()
def wait():
    async def serve(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await asyncio.sleep(float(scope["query_string"]))
        await send({"type": "http.response.body", "body": b"ended"})
    return serve
"""


@contextmanager
def slow_request(server: RunningServer, seconds: float) -> Iterator[list[bytes]]:
    """A web request that is under way for so long; what it was answered is in the list, at the end all of it."""
    deployed = server.inrush("deploy", str(server.write(SLOW)))
    assert deployed.returncode == 0, deployed.stderr
    url = next(word for word in (deployed.stdout + deployed.stderr).split() if word.startswith("http"))
    answer: list[bytes] = []

    def ask() -> None:
        with suppress(httpx.TransportError), httpx.stream("GET", f"{url}?{seconds}", timeout=60) as response:
            answer.extend(response.iter_raw())

    asking = threading.Thread(target=ask)
    asking.start()
    poll(lambda: answer, 60, server.log)
    yield answer
    asking.join()


def test_a_server_whose_launcher_died_ends_at_once_also_under_a_web_request(own_server: RunningServer) -> None:
    own_server.start()
    process = own_server.process
    assert process is not None
    with slow_request(own_server, 60) as answer:
        began = time.monotonic()
        os.kill(own_server.launcher_pid(), signal.SIGKILL)
        assert process.wait(60) == 1
        assert time.monotonic() - began < ENDS_S
    assert answer == [b"begun"]
    assert "the launcher ended by itself" in own_server.log()


def test_a_program_that_meets_a_server_which_is_ending_waits_for_the_next(own_server: RunningServer) -> None:
    own_server.start()
    with slow_request(own_server, 3) as answer:
        os.kill(own_server.pid, signal.SIGTERM)
        poll(lambda: "ending" in own_server.log(), 60)
        assert "1024" in own_server.run(LIMIT.replace("resource.getrlimit(resource.RLIMIT_NOFILE)", "1024")).stdout
    assert b"".join(answer) == b"begunended"
    own_server.adopt()
