"""A route of the API as a value, from which its handler and its description are made."""

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
"""The key of the principal in the ASGI scope of a request."""

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
    """One operation, which needs the `right`. `handle` gets the request and, with `takes`, its decoded body; it returns
    a value of the type `gives`, or a whole `Response` (streams). `query` lists parameters with their descriptions;
    every route also takes `environment`."""

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
    """Whether the `{name}` in its path may contain slashes."""
    everywhere: bool = False
    """Whether it concerns all environments, so that a token for one of them is not enough."""

    def serve(self, audit: Audit) -> StarletteRoute:
        """The route for Starlette."""

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
                return problem(InternalError(f"the request failed by a defect of inrush; see {id} in server.log"))
            return result if isinstance(result, Response) else json(result)

        path = self.path.replace("{name}", "{name:path}") if self.slashes else self.path
        return StarletteRoute(path, endpoint, methods=[self.method])


def who(connection: HTTPConnection) -> Principal:
    """The principal of a request, as the guard has found it."""
    principal: Principal = connection.scope[PRINCIPAL]
    return principal


def json(value: Any, status: int = 200) -> Response:
    """A response with a struct, or a list of structs, as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def problem(error: Error) -> Response:
    """A response with an error."""
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
            raise InvalidError(f"the body is over the limit of {MAX_BODY_BYTES >> 10} KiB")
    try:
        return msgspec.json.decode(data, type=takes)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidError(f"the body is not what {request.url.path} takes: {error}") from None


def number(request: Request, name: str, default: int) -> int:
    """A whole number of the query; `default` if it is not given. Raises `InvalidError`."""
    text = request.query_params.get(name, "")
    try:
        return int(text) if text else default
    except ValueError:
        if text.lower() in ("true", "false"):
            return int(text.lower() == "true")
        raise InvalidError(f"{name} must be a number, not {text!r}") from None


def seconds(request: Request, name: str, default: float) -> float:
    """A time of the query, in seconds; `default` if it is not given. Raises `InvalidError`."""
    text = request.query_params.get(name, "")
    try:
        return float(text) if text else default
    except ValueError:
        raise InvalidError(f"{name} must be a number of seconds, not {text!r}") from None
