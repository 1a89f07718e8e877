"""A route of the API as a value: from it comes what serves it, and what describes it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from inrush.errors import (
    AlreadyExistsError,
    AuthError,
    ConflictError,
    Error,
    InternalError,
    InvalidError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnimplementedError,
)
from inrush.server.api.schema import Problem
from inrush.server.trust.audit import Audit
from inrush.server.trust.principal import Principal, Right

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024
PRINCIPAL = "inrush.principal"
"""Where the guard puts who asks, in the scope of a request."""

STATUSES: tuple[tuple[type[Error], int], ...] = (
    (NotFoundError, 404),
    (InvalidError, 400),
    (AuthError, 401),
    (PermissionDeniedError, 403),
    (AlreadyExistsError, 409),
    (ConflictError, 409),
    (ResourceExhaustedError, 429),
    (UnimplementedError, 501),
)


class Route(NamedTuple):
    """One operation, for those who have the `right`. `handle` gets the request and, with `takes`, its decoded body; it
    returns what `gives` says, or a whole `Response` (streams). `query` names parameters, each with what it means;
    every route takes `environment` beside them."""

    method: str
    path: str
    right: Right
    summary: str
    gives: Any
    handle: Callable[..., Awaitable[Any]]
    takes: Any = None
    query: tuple[tuple[str, str], ...] = ()
    streams: bool = False
    slashes: bool = False
    """The name in its path may hold slashes."""
    everywhere: bool = False
    """It concerns all environments: a token for one of them does not do."""

    def serve(self, audit: Audit) -> StarletteRoute:
        """The route as Starlette has it."""

        async def endpoint(request: Request) -> Response:
            try:
                audit.need(who(request), self.right, self.summary, self.everywhere)
                arguments = [] if self.takes is None else [await _body(request, self.takes)]
                result = await self.handle(request, *arguments)
            except Error as error:
                return problem(error)
            except Exception:
                id = f"rq-{secrets.token_hex(16)}"
                log.exception("a defect: request %s, %s %s, failed", id, self.method, self.path)
                return problem(InternalError(f"it failed by a defect of ours; server.log tells more of request {id}"))
            return result if isinstance(result, Response) else json(result)

        path = self.path.replace("{name}", "{name:path}") if self.slashes else self.path
        return StarletteRoute(path, endpoint, methods=[self.method])


def who(connection: HTTPConnection) -> Principal:
    """Who asks, as the guard found out."""
    principal: Principal = connection.scope[PRINCIPAL]
    return principal


def json(value: Any, status: int = 200) -> Response:
    """A struct, or structs, as a response."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def problem(error: Error) -> Response:
    """An error as a response."""
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
    response = json(Problem(code=type(error).__name__, message=str(error)), status)
    if status == 429:
        response.headers["retry-after"] = "1"
    return response


async def _body(request: Request, takes: Any) -> Any:
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY_BYTES:
            raise InvalidError(f"the body is longer than {MAX_BODY_BYTES >> 10} KiB")
    try:
        return msgspec.json.decode(data, type=takes)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidError(f"the body is not what {request.url.path} takes: {error}") from None


def number(request: Request, name: str, default: int) -> int:
    """A whole number of the query. Raises `InvalidError`."""
    text = request.query_params.get(name, "")
    try:
        return int(text) if text else default
    except ValueError:
        if text.lower() in ("true", "false"):
            return int(text.lower() == "true")
        raise InvalidError(f"{name} must be a number, not {text!r}") from None
