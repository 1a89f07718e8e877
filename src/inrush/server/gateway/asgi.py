"""Web requests and responses as payloads: `A`, JSON, a newline, bytes. What ASGI has as bytes is Latin-1 text in the
JSON."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from inrush.wire import Codec

ENDPOINTS = "/w/"
"""Where endpoints are served; a redirect to another one is left as it is."""

_KINDS = frozenset({
    "http.response.start", "http.response.body", "websocket.accept", "websocket.send", "websocket.close",
    "websocket.http.response.start", "websocket.http.response.body",
})  # fmt: skip
_CLOSES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def pack(head: dict[str, Any], body: bytes = b"") -> bytes:
    """A payload."""
    return b"".join((Codec.ASGI.value, _encode(head), b"\n", body))


def pack_scope(scope: Any, root_path: str, path: str) -> dict[str, Any]:
    """What a guest needs of a request's scope; `path` is the full one, beginning with `root_path`."""
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
    """`send`, with redirects kept below the app's root: one that sends its client to `/login` means its own."""
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
    """An ASGI message to the server. Raises `ValueError` for what is none."""
    head, _, body = payload[1:].partition(b"\n")
    try:
        message = _decode(head)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no ASGI message: {error}") from None
    kind = message.get("type")
    if type(kind) is not str or kind not in _KINDS:
        raise ValueError("no message that an app may send")
    if "headers" in message:
        message["headers"] = _headers(message["headers"])
    if kind.endswith("response.start") and not (type(message.get("status")) is int and 200 <= message["status"] < 600):
        raise ValueError("a response without a status from 200 to 599")
    if kind.endswith("response.body"):
        message["body"], message["more_body"] = body, message.get("more_body") is True
    elif kind == "websocket.send":
        _text_or(message, "text", body)
    elif kind == "websocket.close":
        if message.setdefault("code", 1000) not in _CLOSES:
            raise ValueError("a web socket closed with a code that is none")
        message["reason"] = str(message.get("reason") or "").encode("utf-8", "replace")[:120].decode("utf-8", "ignore")
    elif kind == "websocket.accept" and not _NAME.fullmatch(message.get("subprotocol") or "none"):
        raise ValueError("a web socket accepted with a subprotocol that is none")
    return message


def _text_or(message: dict[str, Any], key: str, body: bytes) -> None:
    text = message.get(key)
    if text is None:
        message["bytes"] = body
    elif type(text) is not str:
        raise ValueError(f"a web socket's {key} that is none")


def _headers(given: Any) -> list[tuple[bytes, bytes]]:
    """Headers as HTTP has them."""
    try:
        pairs = [(name, value) for name, value in given]
        if not all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in pairs):
            raise ValueError("a header that HTTP does not have")
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    except TypeError:
        raise ValueError("headers that are none") from None


def pack_socket(message: Any) -> bytes:
    """A message of a web socket, to the app."""
    head = {key: value for key, value in message.items() if key != "bytes" and value is not None}
    return pack(head, message.get("bytes") or b"")
