"""Web requests and responses as payloads: `A`, JSON, a newline, bytes. What ASGI has as bytes is Latin-1 text in the
JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from inrush.wire import Codec

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


def unpack(payload: bytes) -> dict[str, Any]:
    """An ASGI message to the server. Raises `ValueError` for what is none."""
    head, _, body = payload[1:].partition(b"\n")
    try:
        message = _decode(head)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no ASGI message: {error}") from None
    if "headers" in message:
        message["headers"] = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in message["headers"]]
    kind = message.get("type")
    if kind == "http.response.body":
        message["body"] = body
    elif kind == "websocket.send" and message.get("text") is None:
        message["bytes"] = body
    return message


def pack_socket(message: Any) -> bytes:
    """A message of a web socket, to the app."""
    head = {key: value for key, value in message.items() if key != "bytes" and value is not None}
    return pack(head, message.get("bytes") or b"")
