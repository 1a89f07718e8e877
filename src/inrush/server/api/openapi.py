"""The OpenAPI description of the API, made from its routes and structs, and a page that shows it without any external
resource."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from inrush.server.api import schema
from inrush.server.api.route import Route
from inrush.server.api.streams import SOCKETS_NEED

PREFIX = "/api/v1"

_SOCKETS = (
    ("/containers/{id}/exec", "Run a command in a container"),
    ("/shell", "Run a command in a fresh container of a function (query: function, or app and name)"),
)
_ENVIRONMENT = ("environment", "Where names are looked up; the token's own by default, else main")


def describe(routes: list[Route], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    types = [*schema.ALL, *[route.gives for route in routes]]
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route)
    for path, summary in _SOCKETS:
        told = "A WebSocket: Command, then input and Resize; output, then Exit."
        answers = {"101": {"description": told}}
        parameters = [*_path(path), *_query([_ENVIRONMENT])]
        needed = {"x-right": SOCKETS_NEED, "summary": summary, "parameters": parameters, "responses": answers}
        paths[PREFIX + path] = {"get": needed}
    return {
        "openapi": "3.1.0",
        "info": {"title": "inrush", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: Route) -> dict[str, Any]:
    media = "application/x-ndjson" if route.streams else "application/json"
    operation: dict[str, Any] = {
        "summary": route.summary,
        "x-right": f"{route.right} (everywhere)" if route.everywhere else route.right,
        "parameters": [*_path(route.path), *_query([*route.query, _ENVIRONMENT])],
        "responses": {
            "200": {"description": "Done", "content": {media: {"schema": _reference(route.gives)}}},
            "default": {
                "description": "It could not be",
                "content": {"application/json": {"schema": _reference(schema.Problem)}},
            },
        },
    }
    if route.takes is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(route.takes)}},
        }
    return operation


def _path(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)\}", path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query(told: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"name": n, "in": "query", "description": d, "schema": {"type": "string"}} for n, d in told]


def _reference(kind: Any) -> dict[str, Any]:
    (found,), _ = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
    return found


def page(document: dict[str, Any]) -> str:
    """The description as an HTML page."""
    parts = [_HEAD]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(
                f"<section><h2><b>{method.upper()}</b> {html.escape(path)}</h2>"
                f"<p>{html.escape(operation['summary'])}</p>{_takes(operation)}{_gives(operation)}</section>"
            )
    parts.append("<h1>Schemas</h1>")
    for name, found in sorted(document["components"]["schemas"].items()):
        rows = "".join(_row(field, told) for field, told in found.get("properties", {}).items())
        about = html.escape(found.get("description", ""))
        parts.append(f'<section id="{name}"><h2>{name}</h2><p>{about}</p><table>{rows}</table></section>')
    return "".join(parts)


def _takes(operation: dict[str, Any]) -> str:
    given = [p["name"] + (f" ({p['description']})" if "description" in p else "") for p in operation["parameters"]]
    text = f"<p>Parameters: {html.escape(', '.join(given))}</p>" if given else ""
    body = operation.get("requestBody")
    return text + (f"<p>Takes {_kind(body['content']['application/json']['schema'])}</p>" if body else "")


def _gives(operation: dict[str, Any]) -> str:
    for answer in operation["responses"].values():
        for media, content in answer.get("content", {}).items():
            return f"<p>Gives {_kind(content['schema'])} as {media}</p>"
    return ""


def _row(field: str, told: dict[str, Any]) -> str:
    return f"<tr><td>{html.escape(field)}</td><td>{_kind(told)}</td></tr>"


def _kind(told: dict[str, Any]) -> str:
    if "$ref" in told:
        name = told["$ref"].rpartition("/")[2]
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in told:
        return " or ".join(_kind(one) for one in told["anyOf"])
    if told.get("type") == "array":
        return f"list of {_kind(told['items'])}" if told.get("items") else "list"
    return html.escape(str(told.get("type", "anything")))


_HEAD = """<!doctype html><meta charset="utf-8"><title>inrush API</title><style>
body{font:15px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#1c2024}
section{border-top:1px solid #e2e5e9;padding:.4rem 0}h2{font:600 15px ui-monospace,monospace;margin:.4rem 0}
h2 b{color:#0b62d6;display:inline-block;min-width:4rem}
p{margin:.2rem 0}td{padding:.1rem 1.2rem .1rem 0;vertical-align:top}
@media(prefers-color-scheme:dark){
body{background:#14171a;color:#dde1e6}section{border-color:#2c3238}
h2 b{color:#6fb0ff}a{color:#8fc1ff}}
</style><h1>inrush API</h1>
<p>JSON over HTTP; header <code>Authorization: Bearer TOKEN</code>.
As OpenAPI: <a href="openapi.json">openapi.json</a></p>"""
