"""Web requests and responses as payloads: `A`, JSON, a newline, bytes. What ASGI has as bytes is Latin-1 text in the
JSON.

Where a response ends on its connection is for the server to say, never for an app: a proxy sends requests for many apps
over one connection, and whoever writes beyond the end of its own answer writes the answer to somebody else's request.
So headers about the connection are dropped, a length is one decimal number, and a status that has no body has none.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from inrush.wire import Codec

ENDPOINTS = "/w/"
"""Where endpoints are served; a redirect to another one is left as it is."""

MAX_HEAD_BYTES = 64 * 1024
"""Headers of a response."""
MAX_HEAD_LINES = 500
OF_CONNECTIONS = frozenset({
    "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    "sec-websocket-accept", "sec-websocket-extensions", "sec-websocket-protocol",
})  # fmt: skip
"""Headers by which the two ends of one connection agree how to use it."""
BODILESS = (204, 304)
"""A body behind such a status would be taken for the next response."""

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
    if kind == "websocket.accept" or message.get("status") in BODILESS:
        message["headers"] = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"content-length"]
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
    """Headers as HTTP has them, without those that are not for an app to say."""
    try:
        pairs = [(name, value) for name, value in given]
        if not all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in pairs):
            raise ValueError("a header that HTTP does not have")
        pairs = [(name, value) for name, value in pairs if name.lower() not in OF_CONNECTIONS]
        _check_size(pairs)
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    except TypeError:
        raise ValueError("headers that are none") from None


def _check_size(pairs: list[tuple[str, str]]) -> None:
    if len(pairs) > MAX_HEAD_LINES or sum(len(name) + len(value) + 4 for name, value in pairs) > MAX_HEAD_BYTES:
        raise ValueError(f"more than {MAX_HEAD_LINES} headers, or {MAX_HEAD_BYTES >> 10} KiB of them")
    lengths = [value for name, value in pairs if name.lower() == "content-length"]
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise ValueError("a content-length that is not one decimal number")


def pack_socket(message: Any) -> bytes:
    """A message of a web socket, to the app."""
    head = {key: value for key, value in message.items() if key != "bytes" and value is not None}
    return pack(head, message.get("bytes") or b"")
