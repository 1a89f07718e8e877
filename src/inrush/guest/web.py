"""Makes an ASGI app of what a user decorated: an ASGI app, a WSGI app, or a handler for FastAPI."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Iterable
from typing import Any

from inrush.errors import StartupError
from inrush.guest.site import App, Message
from inrush.guest.target import RunAsync, awaited


def build(web: dict[str, Any], function: Callable[..., Any], run_async: RunAsync) -> App:
    """The ASGI app of an endpoint. `function` is the user's: it returns an app, or something to await for one, or it is
    the handler."""
    if web["kind"] == "fastapi":
        return fastapi(function, web.get("method") or "GET", bool(web.get("docs")))
    app = function()
    if hasattr(type(app), "__await__"):
        app = run_async(awaited(app))
    if not callable(app):
        raise StartupError(f"{function.__qualname__} returned {app!r}, which is no app: return the ASGI or WSGI app")
    return wsgi(app) if web["kind"] == "wsgi" else app


def fastapi(handler: Callable[..., Any], method: str, docs: bool) -> App:
    """A FastAPI app with one route, `/`, open to all origins."""
    try:
        from fastapi import FastAPI  # type: ignore[import-not-found, unused-ignore]
        from fastapi.middleware.cors import CORSMiddleware  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise StartupError('a fastapi_endpoint needs fastapi in its image: add .pip_install("fastapi")') from error
    app = FastAPI(docs_url="/docs" if docs else None, redoc_url=None, openapi_url="/openapi.json" if docs else None)
    app.add_middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"], allow_credentials=True
    )
    app.add_api_route("/", handler, methods=[method])
    made: App = app
    return made


def wsgi(app: Callable[..., Iterable[bytes]]) -> App:
    """Wraps a WSGI app as an ASGI app. The body is read whole, the answer is streamed, and each request has a
    thread."""

    async def serve(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = io.BytesIO()
        while True:
            message = await receive()
            body.write(message.get("body", b""))
            if not message.get("more_body"):
                break
        body.seek(0)
        loop = asyncio.get_running_loop()

        def tell(message: Message) -> None:
            asyncio.run_coroutine_threadsafe(send(message), loop).result()

        await asyncio.to_thread(_answer, app, _environ(scope, body), tell)

    return serve


def _answer(app: Callable[..., Iterable[bytes]], environ: dict[str, Any], tell: Callable[[Message], None]) -> None:
    head: dict[str, Any] = {}

    def write(data: bytes) -> None:
        if not head.get("told"):
            head["told"] = True
            tell({"type": "http.response.start", "status": head["status"], "headers": head["headers"]})
        if data:
            tell({"type": "http.response.body", "body": data, "more_body": True})

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        if head.get("told") and exc_info:
            raise exc_info[1].with_traceback(exc_info[2])
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        head.update(status=int(status.split(" ", 1)[0]), headers=pairs)
        return write

    pieces = app(environ, start_response)
    try:
        for piece in pieces:
            write(piece)
        write(b"")
        tell({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def _environ(scope: Message, body: io.BytesIO) -> dict[str, Any]:
    """The WSGI environment of a request. As PEP 3333 says, its text is the received bytes decoded as Latin-1."""
    server = scope.get("server") or ("localhost", 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": scope.get("root_path", "").encode().decode("latin-1"),
        "PATH_INFO": scope["path"].removeprefix(scope.get("root_path", "")).encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if scope.get("client"):
        environ["REMOTE_ADDR"] = scope["client"][0]
    for name, value in scope["headers"]:
        if b"_" in name:
            continue  # it would pass for the header with a dash, which a proxy may have checked
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ
