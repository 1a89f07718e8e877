"""Web requests and responses as payloads: `A`, JSON, a newline, bytes. In the JSON, what ASGI has as bytes is Latin-1
text.

The server alone decides where a response ends on its connection: a proxy sends requests to many apps over one
connection, and an app that wrote beyond the end of its response would answer somebody else's request. So headers about
the connection are dropped, a length must be one decimal number, and a status without a body gets none.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from inrush.wire import Codec

ENDPOINTS = "/w/"
"""The path below which endpoints are served. A redirect to another endpoint is not changed."""

MAX_HEAD_BYTES = 64 * 1024
"""The most bytes of a response's headers."""
MAX_HEAD_LINES = 500
OF_CONNECTIONS = frozenset({
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    "sec-websocket-accept", "sec-websocket-extensions", "sec-websocket-protocol",
})  # fmt: skip
"""Headers about a single connection, which apps may not set."""
BODILESS = (204, 304)
"""Statuses without a body; a client would take a body for the next response."""

_KINDS = frozenset({
    "http.response.start", "http.response.body", "websocket.accept", "websocket.send", "websocket.close",
    "websocket.http.response.start", "websocket.http.response.body",
})  # fmt: skip
_CLOSES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_LENGTH = re.compile(r"[0-9]{1,18}")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def pack(head: dict[str, Any], body: bytes = b"") -> bytes:
    """Packs a payload."""
    return b"".join((Codec.ASGI.value, _encode(head), b"\n", body))


def pack_scope(scope: Any, root_path: str, path: str) -> dict[str, Any]:
    """The parts of a request's scope that a guest needs. `path` is the whole path, which begins with `root_path`."""
    raw = scope.get("raw_path")
    packed = {
        "type": scope["type"],
        "http_version": scope.get("http_version", "1.1"),
        "scheme": scope.get("scheme", "http"),
        "path": path,
        "root_path": root_path,
        "query_string": scope.get("query_string", b"").decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        "client": scope.get("client"),
        "server": scope.get("server"),
    }
    if raw is not None:
        packed["raw_path"] = raw.decode("latin-1")
    if scope["type"] == "http":
        packed["method"] = scope["method"]
    else:
        packed["subprotocols"] = list(scope.get("subprotocols", ()))
    return packed


def below(head: dict[str, Any], send: Any) -> Any:
    """Wraps `send` so that redirects stay below the app's root: an app that redirects to `/login` means its own."""
    root = head["root_path"]
    host = next((value for name, value in head["headers"] if name == "host"), "")
    here = (f"http://{host}", f"https://{host}") if host else ()

    async def sent(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and 300 <= message["status"] < 400:
            headers = [
                (name, _below(value, root, here) if name.lower() == b"location" else value)
                for name, value in message.get("headers", ())
            ]
            message = {**message, "headers": headers}
        await send(message)

    return sent


def _below(location: bytes, root: str, here: tuple[str, ...]) -> bytes:
    text = location.decode("latin-1")
    origin = next((origin for origin in here if text == origin or text.startswith(origin + "/")), "")
    path = text.removeprefix(origin)
    if path.startswith((ENDPOINTS, "//")) or not (origin or path.startswith("/")):
        return location
    return f"{origin}{root}{path}".encode("latin-1")


def unpack(payload: bytes) -> dict[str, Any]:
    """Decodes an ASGI message of an app. Raises `ValueError` for a malformed one."""
    head, _, body = payload[1:].partition(b"\n")
    try:
        message = _decode(head)
    except msgspec.MsgspecError as error:
        raise ValueError(f"malformed JSON: {error}") from None
    kind = message.get("type")
    if type(kind) is not str or kind not in _KINDS:
        raise ValueError(f"a message of the type {kind!r}, which an app may not send")
    if "headers" in message:
        message["headers"] = _headers(message["headers"])
    if kind.endswith("response.start") and not (type(message.get("status")) is int and 200 <= message["status"] < 600):
        raise ValueError("a response without a status from 200 to 599")
    if kind == "websocket.accept" or message.get("status") in BODILESS:
        message["headers"] = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"content-length"]
    if kind.endswith("response.body"):
        message["body"], message["more_body"] = body, message.get("more_body") is True
    elif kind == "websocket.send":
        _text_or(message, "text", body)
    elif kind == "websocket.close":
        if message.setdefault("code", 1000) not in _CLOSES:
            raise ValueError("a WebSocket is closed with an invalid code")
        message["reason"] = str(message.get("reason") or "").encode("utf-8", "replace")[:120].decode("utf-8", "ignore")
    elif kind == "websocket.accept" and not _NAME.fullmatch(message.get("subprotocol") or "none"):
        raise ValueError("a WebSocket is accepted with an invalid subprotocol")
    return message


def _text_or(message: dict[str, Any], key: str, body: bytes) -> None:
    text = message.get(key)
    if text is None:
        message["bytes"] = body
    elif type(text) is not str:
        raise ValueError(f"the {key} of a WebSocket's message is not text")


def _headers(given: Any) -> list[tuple[bytes, bytes]]:
    """Checks headers, and drops those that an app may not set. Raises `ValueError` for malformed ones."""
    try:
        pairs = [(name, value) for name, value in given]
        if not all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in pairs):
            raise ValueError("a header has an invalid name or value")
        pairs = [(name, value) for name, value in pairs if name.lower() not in OF_CONNECTIONS]
        _check_size(pairs)
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    except TypeError:
        raise ValueError("headers must be pairs of names and values") from None


def _check_size(pairs: list[tuple[str, str]]) -> None:
    if len(pairs) > MAX_HEAD_LINES or sum(len(name) + len(value) + 4 for name, value in pairs) > MAX_HEAD_BYTES:
        raise ValueError(f"more than {MAX_HEAD_LINES} headers, or {MAX_HEAD_BYTES >> 10} KiB of them")
    lengths = [value for name, value in pairs if name.lower() == "content-length"]
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise ValueError("a content-length that is not one decimal number")


def pack_socket(message: Any) -> bytes:
    """Packs a WebSocket's message to the app."""
    head = {key: value for key, value in message.items() if key != "bytes" and value is not None}
    return pack(head, message.get("bytes") or b"")
