"""The client of the server's management API for commands: plain JSON over HTTP.

The server is the one of the `server_url` setting with its `token`, else the local one, which `run/server.json` in the
home describes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from inrush import settings
from inrush.errors import AuthError, ConnectionError, Error, InternalError, VersionError, from_code
from inrush.version import __version__, minor, remedy

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 30.0


class Address(NamedTuple):
    """Where a server listens, and the token for it."""

    url: str
    token: str


def local_server() -> dict[str, Any] | None:
    """What the local server wrote about itself at its start (`pid`, `url`, `boot`, `version`). It may have died
    since."""
    try:
        told: dict[str, Any] = json.loads(settings.read_in_home("run/server.json"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InternalError(f"{settings.home()}/run/server.json cannot be read: {error}") from None
    return told


def start_if_none() -> None:
    """Starts a local server in the background, where no other is configured and none runs."""
    if not settings.load()["server_url"].value:
        from inrush.client import _local

        _local.local(start=True).close()


def address() -> Address:
    """The server to ask. Raises `ConnectionError` when none is configured and none runs here."""
    from inrush.client._local import configured

    url, token = configured()
    if url:
        return Address(url, token)
    local = local_server()
    if local is None:
        raise _nobody_there("no server runs on this machine")
    try:
        token = token or settings.read_in_home("token").strip()
    except OSError as error:
        raise _nobody_there(f"the local server's token cannot be read ({error})") from None
    return Address(local["url"].rstrip("/"), token)


def name(text: str) -> str:
    """A name as one part of a path, whatever is in it."""
    return quote(text, safe="").replace(".", "%2E")  # two dots alone would lead up


def get(path: str, **params: Any) -> Any:
    """Fetches JSON at `path`, below `/api/v1`."""
    return _ask("GET", path, params=given(params))


def post(path: str, body: Any = None, *, patient: bool = False, **params: Any) -> Any:
    """Posts JSON, and returns the JSON that comes back, or None. A `patient` caller waits as long as it takes."""
    return _ask("POST", path, None if patient else _TIMEOUT_S, json=body, params=given(params))


def delete(path: str, **params: Any) -> Any:
    """Deletes what is at `path`."""
    return _ask("DELETE", path, params=given(params))


def lines(path: str, **params: Any) -> Iterator[dict[str, Any]]:
    """Objects of a newline-delimited JSON stream, as they come."""
    import httpx

    with _client(timeout=None) as client:
        try:
            with client.stream("GET", path, params=given(params)) as response:
                if response.is_error:
                    response.read()
                    raise _refusal(response, client)
                yield from map(json.loads, _lines(response.iter_bytes()))
        except httpx.TransportError as error:
            raise _unreachable(client, error) from None


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Lines as JSON has them: they end with a newline alone, whatever else Unicode ends lines with."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from filter(None, lines)
    if rest:
        yield rest


def _ask(method: str, path: str, timeout_s: float | None = _TIMEOUT_S, **options: Any) -> Any:
    import httpx

    with _client(timeout_s) as client:
        try:
            response = client.request(method, path, **options)
        except httpx.TransportError as error:
            raise _unreachable(client, error) from None
        if response.is_error:
            raise _refusal(response, client)
    return response.json() if response.content else None


def _client(timeout: float | None) -> httpx.Client:
    import httpx

    where = address()
    headers = {"Authorization": f"Bearer {where.token}"}
    # The environment's proxies are for the outside world; a server of ours is named by its address.
    return httpx.Client(base_url=f"{where.url}/api/v1", headers=headers, timeout=timeout, trust_env=False)


def _refusal(response: httpx.Response, client: httpx.Client) -> Error:
    try:
        told = response.json()
        if told["code"] == "AuthError":
            url = f"{response.request.url.scheme}://{response.request.url.netloc.decode()}"
            return AuthError(_wrong_token(url, told["message"]))
        return from_code(told["code"], told["message"] + _other_version(client))
    except (ValueError, KeyError, TypeError):
        if response.status_code == HTTPStatus.NOT_FOUND:
            path = response.request.url.path
            return VersionError(
                f"the server does not know {path}: its version is older than this inrush, {__version__}"
            )
        return InternalError(f"{response.request.url} answered {response.status_code}: {response.text[:300]}")


def _other_version(client: httpx.Client) -> str:
    """What to install where, if the server that refuses something has another minor version; else empty."""
    import httpx

    try:
        server = str(client.get("/status").json()["version"])
    except (httpx.TransportError, ValueError, KeyError, TypeError):
        return ""
    return "" if minor(server) == minor(__version__) else f"; {remedy(server, __version__)}"


def _wrong_token(url: str, why: str) -> str:
    source = settings.load()["token"].source
    where = f"{settings.home() / 'token'}" if source == "default" else source
    return f"the server at {url} does not take the token from {where}: {why}"


def _unreachable(client: httpx.Client, error: Exception) -> ConnectionError:
    return _nobody_there(f"no server answers at {client.base_url.copy_with(path='/')} ({error})")


def _nobody_there(what: str) -> ConnectionError:
    return ConnectionError(f"{what}; `inrush server` starts one here, INRUSH_SERVER_URL names another")


def given(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters that were given, with the environment to look in if there is one."""
    environment = settings.load()["environment"].value or None
    given = {"environment": environment, **params}
    return {name: value for name, value in given.items() if value is not None}
