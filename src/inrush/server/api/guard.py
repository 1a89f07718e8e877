"""Who may speak with the API: whoever holds the token, and no web page of another origin, whatever its token."""

from __future__ import annotations

import hmac
from typing import Any

from inrush.errors import AuthError
from inrush.server.port.names import check_origin, header


class Guard:
    """The checks of one server."""

    def __init__(self, token: str) -> None:
        self._token = token

    def check(self, scope: Any) -> None:
        """Raises `AuthError` or `PermissionDeniedError`."""
        check_origin(scope)
        self.check_token(scope)

    def check_token(self, scope: Any) -> None:
        """Raises `AuthError`."""
        scheme, _, token = header(scope, b"authorization").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token.encode()):
            raise AuthError(
                "the token is missing or wrong; send `Authorization: Bearer TOKEN`, TOKEN is in the home's file `token`"
            )
