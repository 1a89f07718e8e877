"""Who may speak with the API: whoever holds the token, and no web page of another origin.

A page in a browser can make requests to loopback, and by DNS rebinding even under its own name. So on loopback only the
names of loopback are taken as `Host`, and a request with a foreign `Origin` is refused whatever its token.
"""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import urlsplit

from inrush.errors import AuthError, PermissionDeniedError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Guard:
    """The checks of one server."""

    def __init__(self, token: str, host: str) -> None:
        self._token = token
        self._only_loopback = host in LOOPBACK

    def check_host(self, scope: Any) -> None:
        """Raises `PermissionDeniedError` for a name that is not this machine's."""
        name = host_of(scope)
        if self._only_loopback and name not in LOOPBACK and not name.endswith(".localhost"):
            raise PermissionDeniedError(
                f"this server listens on loopback and is not called {name!r}; use http://127.0.0.1"
            )

    def check(self, scope: Any) -> None:
        """Raises `AuthError` or `PermissionDeniedError`."""
        self.check_host(scope)
        origin = header(scope, b"origin")
        if origin and (urlsplit(origin).hostname or "") != host_of(scope):
            raise PermissionDeniedError(f"pages of {origin} may not use this API")
        scheme, _, token = header(scope, b"authorization").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token.encode()):
            raise AuthError(
                "the token is missing or wrong; send `Authorization: Bearer TOKEN`, TOKEN is in the home's file `token`"
            )


def header(scope: Any, name: bytes) -> str:
    """A header of a request, or empty."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def host_of(scope: Any) -> str:
    """The host that the client named, without its port."""
    host = header(scope, b"host")
    return (urlsplit(f"//{host}").hostname or "").lower()
