"""Web requests: ASGI and WSGI apps, streams in both directions, web sockets, lifespan."""

from __future__ import annotations

import io
import itertools
import json
import os
from pathlib import Path
from typing import Any

from guest.guest_process import CANCELLED, ERROR, OK, GuestProcess, arguments, failure
from inrush.frames import AHEAD_PIECES, FEED_COST_BYTES
from inrush.guest.web import _environ

ASGI = """
import asyncio
state = {}
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["opened"] = "yes"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("shut down")
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": "got " + (event.get("text") or event["bytes"].decode())})
            await send({"type": "websocket.send", "bytes": b"raw"})
        print("left", event["type"])
        return
    path = scope["path"]
    if path == "/broken":
        raise LookupError("broken page")
    if path == "/forever":
        print("in")
        message = await receive()
        while message["type"] != "http.disconnect":
            message = await receive()
        print("disconnected")
        return
    await send({"type": "http.response.start", "status": 201, "headers": [(b"x-seen", b"caf\\xe9")]})
    if path == "/echo":
        while True:
            message = await receive()
            body, more = message["body"].upper(), message["more_body"]
            await send({"type": "http.response.body", "body": body, "more_body": more})
            if not more:
                return
    said = repr([scope["method"], scope["query_string"], scope["headers"], scope["client"], scope["state"]])
    await send({"type": "http.response.body", "body": said.encode()})
def f():
    return app
"""
WEB = {"": {"kind": "asgi", "method": "GET", "docs": False}}


def scope(path: str = "/", **more: Any) -> dict[str, Any]:
    plain = {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path, "raw_path": path}
    ends = {
        "client": ["10.0.0.1", 5],
        "server": ["h", 80],
        "query_string": "a=%E9",
        "headers": [["x-h", "é"]],
        "root_path": "",
    }
    return {**plain, **ends, **more}


def ask(guest: GuestProcess, call: str, scope: dict[str, Any], body: bytes = b"", last: bool = True) -> None:
    head = json.dumps({"scope": scope, "last": last}).encode()
    guest.run(call, b"A" + head + b"\n" + body, kind="web")


def messages(guest: GuestProcess, call: str) -> list[tuple[dict[str, Any], bytes]]:
    found = []
    for item in guest.items(call):
        assert item[:1] == b"A"
        head, _, body = item[1:].partition(b"\n")
        found.append((json.loads(head), body))
    return found


def until_messages(guest: GuestProcess, call: str, count: int) -> list[tuple[dict[str, Any], bytes]]:
    guest.expect_items(call, count)
    return messages(guest, call)


def test_an_app_sees_the_request_and_its_answer_comes_back(guest: GuestProcess) -> None:
    guest.load(ASGI, web=WEB)
    ask(guest, "ca-1", scope("/about"))
    assert guest.result("ca-1") == (OK, b"")
    (start, _), (end, body) = messages(guest, "ca-1")
    assert start == {"type": "http.response.start", "status": 201, "headers": [["x-seen", "café"]]}
    assert end["type"] == "http.response.body"
    expected = ["GET", b"a=%E9", [(b"x-h", b"\xe9")], ("10.0.0.1", 5), {"opened": "yes"}]
    assert body.decode() == repr(expected)


def test_body_and_answer_stream_at_the_same_time(guest: GuestProcess) -> None:
    guest.load(ASGI, web=WEB)
    ask(guest, "ca-1", scope("/echo", method="POST"), b"one", last=False)
    assert until_messages(guest, "ca-1", 2)[1][1] == b"ONE"
    guest.send({"t": "feed", "c": "ca-1", "last": False, "gone": False}, b"two")
    assert until_messages(guest, "ca-1", 3)[2][1] == b"TWO"
    guest.send({"t": "feed", "c": "ca-1", "last": True, "gone": False}, b"three")
    assert guest.result("ca-1") == (OK, b"")
    assert [body for _, body in messages(guest, "ca-1")] == [b"", b"ONE", b"TWO", b"THREE"]


def test_a_large_piece_of_an_answer_is_cut(guest: GuestProcess) -> None:
    guest.load(ASGI, web=WEB)
    ask(guest, "ca-1", scope("/echo", method="POST"), b"x" * 700_000)
    assert guest.result("ca-1")[0] == OK
    bodies = [body for head, body in messages(guest, "ca-1") if head["type"] == "http.response.body"]
    assert len(bodies) > 1
    assert b"".join(bodies) == b"X" * 700_000


def test_no_more_pieces_of_an_answer_leave_than_were_granted(guest: GuestProcess) -> None:
    source = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for n in range(AHEAD + 5):
        print("sending", n, flush=True)
        await send({"type": "http.response.body", "body": b"%d" % n, "more_body": n < AHEAD + 4})
def f():
    return app
"""
    guest.load(f"AHEAD = {AHEAD_PIECES}\n{source}", web=WEB)
    ask(guest, "ca-1", scope("/", method="POST"), last=False)
    guest.send({"t": "grant", "c": "ca-1", "i": 0, "x": 3})
    guest.send({"t": "feed", "c": "ca-1", "last": True, "gone": False}, b"")
    may = AHEAD_PIECES + 3
    guest.expect_log(f"sending {may - 1}\n", call="ca-1")
    assert len(guest.expect_items("ca-1", may)) == may
    assert f"sending {may}\n" not in guest.logs()
    guest.send({"t": "grant", "c": "ca-1", "i": 0, "x": 10})
    assert guest.result("ca-1")[0] == OK
    assert len(guest.items("ca-1")) == AHEAD_PIECES + 6


def test_an_app_hears_that_its_client_has_left(guest: GuestProcess) -> None:
    guest.load(ASGI, web=WEB)
    ask(guest, "ca-1", scope("/forever"))
    guest.expect_log("in", call="ca-1")
    guest.send({"t": "feed", "c": "ca-1", "last": True, "gone": True}, b"")
    assert guest.result("ca-1")[0] == OK
    guest.expect_log("disconnected", call="ca-1")


def test_an_app_is_fed_on_only_as_it_takes(guest: GuestProcess) -> None:
    source = """
async def app(scope, receive, send):
    while (await receive())["body"] != b"go on":
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

def f():
    return app
"""
    guest.load(source, web=WEB)
    ask(guest, "ca-1", scope(), last=False)
    for _ in range(4):
        guest.send({"t": "feed", "c": "ca-1", "last": False, "gone": False}, b"x" * 30_000)
    guest.send({"t": "feed", "c": "ca-1", "last": True, "gone": False}, b"go on")
    guest.expect("out")
    took = [header["x"] for header, _ in guest.frames if header["t"] == "took"]
    assert took == [2 * (30_000 + FEED_COST_BYTES)] * 2


def test_a_request_is_cancelled(guest: GuestProcess) -> None:
    guest.load(ASGI, web=WEB)
    ask(guest, "ca-1", scope("/forever"))
    guest.expect_log("in", call="ca-1")
    guest.send({"t": "cancel", "c": "ca-1", "i": [0]})
    assert guest.result("ca-1")[0] == CANCELLED


def test_an_app_that_raises_is_an_error_and_its_traceback_a_log(guest: GuestProcess) -> None:
    guest.load(ASGI, web=WEB)
    ask(guest, "ca-1", scope("/broken"))
    status, payload = guest.result("ca-1")
    assert status == ERROR
    assert isinstance(failure(payload)[0], LookupError)
    assert "LookupError: broken page" in guest.logs("stderr", "ca-1")


def test_a_web_socket_carries_text_and_bytes_both_ways(guest: GuestProcess) -> None:
    guest.load(ASGI, web=WEB)
    ask(guest, "ca-1", scope("/ws", type="websocket", scheme="ws"))
    assert until_messages(guest, "ca-1", 1)[0][0] == {"type": "websocket.accept"}
    guest.send({"t": "feed", "c": "ca-1", "last": False, "gone": False}, b'A{"type":"websocket.receive","text":"hi"}\n')
    assert until_messages(guest, "ca-1", 3)[1:] == [
        ({"type": "websocket.send", "text": "got hi"}, b""),
        ({"type": "websocket.send"}, b"raw"),
    ]
    guest.send({"t": "feed", "c": "ca-1", "last": False, "gone": False}, b'A{"type":"websocket.receive"}\nbin')
    assert until_messages(guest, "ca-1", 5)[3][0]["text"] == "got bin"
    guest.send({"t": "feed", "c": "ca-1", "last": True, "gone": True}, b"")
    assert guest.result("ca-1")[0] == OK
    guest.expect_log("left websocket.disconnect")


def test_the_lifespan_ends_with_the_guest(guest: GuestProcess) -> None:
    guest.load(ASGI, web=WEB)
    assert guest.stop() == 0
    assert guest.logs() == "shut down\n"


def test_a_lifespan_that_fails_fails_the_start(guest: GuestProcess) -> None:
    source = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
def f():
    return app
"""
    guest.begin(source, web=WEB)
    assert "no database" in guest.expect("failed")[0]["message"]


def test_an_app_without_lifespan_is_served(guest: GuestProcess) -> None:
    source = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
def f():
    return app
"""
    guest.load(source, web=WEB)
    ask(guest, "ca-1", scope())
    assert guest.result("ca-1")[0] == OK
    assert messages(guest, "ca-1")[1][1] == b"ok"


def test_requests_are_served_side_by_side(guest: GuestProcess) -> None:
    source = """
import asyncio
barrier = []
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    barrier.append(1)
    while len(barrier) < 3:
        await asyncio.sleep(0.001)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
def f():
    return app
"""
    guest.load(source, web=WEB, max_inputs=3)
    for n in range(3):
        ask(guest, f"ca-{n}", scope())
    assert [guest.result(f"ca-{n}")[0] for n in range(3)] == [OK] * 3


WSGI = """
class C:
    greeting = "hello"
    def site(self):
        def app(environ, start_response):
            body = environ["wsgi.input"].read()
            print("asked", environ["PATH_INFO"])
            start_response("418 Teapot", [("X-Path", environ["PATH_INFO"]), ("X-H", environ["HTTP_X_H"])])
            yield self.greeting.encode()
            yield body
        return app
"""


def test_a_wsgi_app_of_a_class_is_served(guest: GuestProcess) -> None:
    web = {"site": {"kind": "wsgi"}}
    guest.load(WSGI, "C", is_class=True, methods=["site"], web=web)
    asked = scope("/w/site/café", method="POST", root_path="/w/site")
    head = json.dumps({"scope": asked, "last": False}).encode()
    guest.run("ca-1", b"A" + head + b"\nbo", method="site", kind="web")
    guest.send({"t": "feed", "c": "ca-1", "last": True, "gone": False}, b"dy")
    assert guest.result("ca-1") == (OK, b"")
    (start, _), *bodies = messages(guest, "ca-1")
    assert start["status"] == 418
    assert dict(start["headers"])["x-h"] == "é"
    assert dict(start["headers"])["x-path"].encode("latin-1").decode() == "/café"
    assert b"".join(body for _, body in bodies) == b"hellobody"
    assert guest.logs(call="ca-1") == "asked /caf\xc3\xa9\n"


def test_a_header_does_not_pass_for_another_in_a_wsgi_app() -> None:
    asked = {"method": "GET", "path": "/", "query_string": b""}
    headers = [(b"x_forwarded_user", b"root"), (b"x-forwarded-user", b"nobody"), (b"content_length", b"5")]
    environ = _environ({**asked, "headers": headers}, io.BytesIO())
    assert environ["HTTP_X_FORWARDED_USER"] == "nobody"
    assert "CONTENT_LENGTH" not in environ


def test_an_endpoint_without_fastapi_in_its_image_says_what_to_install(guest: GuestProcess) -> None:
    guest.begin(
        "import sys\nsys.modules['fastapi'] = None\ndef f(x: int):\n    return x\n", web={"": {"kind": "fastapi"}}
    )
    header, _ = guest.expect("failed")
    assert header["code"] == "StartupError"
    assert '.pip_install("fastapi")' in header["message"]


FASTAPI = """
class C:
    factor = 3
    def times(self, x: int, y: int = 1):
        print("times", x)
        return {"product": self.factor * x * y}
"""


def test_a_fastapi_endpoint_takes_its_parameters_from_the_query(guest: GuestProcess) -> None:
    web = {"times": {"kind": "fastapi", "method": "GET", "docs": True}}
    guest.load(FASTAPI, "C", is_class=True, methods=["times"], web=web)
    asked = scope("/w/times/", root_path="/w/times", query_string="x=5&y=2", headers=[["origin", "http://elsewhere"]])
    head = json.dumps({"scope": asked, "last": True}).encode()
    guest.run("ca-1", b"A" + head + b"\n", method="times", kind="web")
    assert guest.result("ca-1")[0] == OK
    (start, _), *bodies = messages(guest, "ca-1")
    assert json.loads(b"".join(body for _, body in bodies)) == {"product": 30}
    assert "access-control-allow-origin" in dict(start["headers"])
    assert guest.logs(call="ca-1") == "times 5\n"


def test_who_calls_it_as_a_function_is_refused_and_requests_go_on(guest: GuestProcess) -> None:
    guest.load(ASGI, web=WEB)
    for n, payload in enumerate((arguments(1), b"", b"A", b"J[")):
        guest.run(f"ca-{n}", payload, kind="remote")
        status, why = guest.result(f"ca-{n}")
        assert status == ERROR
        assert b"served over HTTP" in why
    ask(guest, "ca-web", scope("/"))
    assert guest.result("ca-web")[0] == OK


LEAVING = """
import sys
live = []
async def endless():
    live.append(1)
    try:
        while True:
            yield b"x"
    finally:
        live.pop()
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/live":
        await send({"type": "http.response.body", "body": str(len(live)).encode()})
        return
    if scope["path"] == "/large":
        await send({"type": "http.response.body", "body": bytes(64 << 20)})
        return
    pieces = endless()
    kept = []
    try:
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except BaseException as error:
        kept += [error, sys._getframe()]  # a circle of garbage, such as task groups leave behind
        raise
def f():
    return app
"""


def test_generators_of_a_client_that_left_are_finished(guest: GuestProcess) -> None:
    guest.load(LEAVING, web=WEB, max_inputs=4)
    ask(guest, "ca-1", scope("/endless"))
    until_messages(guest, "ca-1", 3)
    guest.send({"t": "cancel", "c": "ca-1", "i": [0]})
    assert guest.result("ca-1")[0] == CANCELLED
    asked = itertools.count(1)

    def none_is_live() -> bool | None:
        call = f"ca-live-{next(asked)}"
        ask(guest, call, scope("/live"))
        return True if until_messages(guest, call, 2)[1][1] == b"0" else None

    guest.until(none_is_live, "the generator's end")


def test_a_large_body_in_one_piece_is_cut_without_being_copied_for_each_piece(guest: GuestProcess) -> None:
    guest.load(LEAVING, web=WEB)
    before = cpu_s(guest)
    ask(guest, "ca-1", scope("/large"))
    guest.send({"t": "grant", "c": "ca-1", "i": 0, "x": 1000})
    assert guest.result("ca-1")[0] == OK
    assert sum(len(payload.partition(b"\n")[2]) for payload in guest.items("ca-1")) == 64 << 20
    assert cpu_s(guest) - before < 2.0  # copying the rest for each piece took more than 6 s


def cpu_s(guest: GuestProcess) -> float:
    fields = Path(f"/proc/{guest.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
