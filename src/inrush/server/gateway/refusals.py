"""Answers to requests that the app has not answered: a status, a fixed message, and an id.

Callers are not trusted, so the details (an exception's text, a traceback, why a container could not start) are written
only to the app's log, under that id.
"""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

import msgspec

from inrush import wire
from inrush.wire import Status

RETRY_AFTER_S = 1
ENDING = "ConnectionError"
"""The code of refusals because the server ends."""

_STATUS = {Status.TIMEOUT: 504, Status.CANCELLED: 503, Status.ERROR: 500, Status.INTERNAL: 500}
_REFUSED = {
    "ResourceExhaustedError": 429,
    "NotFoundError": 404,
    "ExecutionError": 502,
    "InvalidError": 502,
    "RequestSizeError": 413,
    ENDING: 503,
}
_SAYS = {
    403: ("PermissionDeniedError", "service workers are served at the app's own host name only"),
    404: ("NotFoundError", "nothing is served at this address"),
    413: ("RequestSizeError", "the body is too large"),
    429: ("ResourceExhaustedError", "too many requests wait for this app; try again later"),
    500: ("ExecutionError", "the app failed"),
    502: ("ExecutionError", "the app could not be started, or ended while it served this request"),
    503: (ENDING, "the server is ending, or the request was cancelled; try again later"),
    504: ("FunctionTimeoutError", "the app did not answer in time"),
}
_CLOSE_AGAIN = 1013


class Verdict(NamedTuple):
    """The status for the caller, and the details for the app's log."""

    status: int
    details: str


def new_id() -> str:
    """A random id for one request."""
    return f"rq-{secrets.token_hex(16)}"


def verdict(message: wire.Results | wire.CallRefused) -> Verdict:
    """The status and details for a request that its app has not answered."""
    if isinstance(message, wire.CallRefused):
        return Verdict(_REFUSED.get(message.code, 500), f"{message.code}: {message.message}")
    status = Status(message.statuses[0])
    if status == Status.OK:
        return Verdict(500, "the app ended without an answer")
    return Verdict(_STATUS.get(status, 502), _failure(message.payloads[0]))


def _failure(payload: bytes) -> str:
    if payload[:1] != wire.Codec.JSON.value:
        return "the app raised an exception; its traceback is in this log"
    try:
        failure = msgspec.json.decode(payload[1:], type=wire.SystemFailure)
    except msgspec.MsgspecError:
        return "it failed"
    return f"{failure.code}: {failure.message}"


async def refuse(scope: Any, send: Any, status: int, id: str) -> None:
    """Answers a request in place of its app."""
    code, words = _SAYS.get(status, _SAYS[500])
    kind = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": _CLOSE_AGAIN, "reason": f"{words} ({id})"[:120]})
            return
        kind = "websocket.http.response"
    body = msgspec.json.encode({"code": code, "message": words, "request": id})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", id.encode()),
    ]
    if status in (429, 503):
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


async def redirect(send: Any, page: str, scope: Any) -> None:
    """Redirects a browser to the app's own host name."""
    below = (scope.get("raw_path") or b"").split(b"/", 3)[3:]
    query = scope.get("query_string", b"")
    location = page.encode() + b"/" + (below[0] if below else b"") + (b"?" + query if query else b"")
    headers = [(b"location", location), (b"content-length", b"0"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def closing(status: int, id: str) -> dict[str, Any]:
    """The message that closes an accepted WebSocket."""
    _, words = _SAYS.get(status, _SAYS[500])
    return {"type": "websocket.close", "code": 1011, "reason": f"{words} ({id})"[:120]}
