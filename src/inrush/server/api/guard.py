"""The checks before a request to the API: it needs a token, and must not come from a web page of another origin."""

from __future__ import annotations

from typing import Any

from inrush.errors import AuthError
from inrush.server.port.names import check_origin, header
from inrush.server.trust.principal import Principal
from inrush.server.trust.tokens import Tokens

_HOW = "send `Authorization: Bearer TOKEN`; `inrush token create` makes one, the owner's is in the home's file `token`"


class Guard:
    """Checks the requests to one server."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def check(self, scope: Any) -> Principal:
        """Returns the principal of a request. Raises `AuthError` or `PermissionDeniedError`."""
        check_origin(scope)
        return self.check_token(scope)

    def check_token(self, scope: Any) -> Principal:
        """Returns the principal of a request's token. Raises `AuthError`."""
        scheme, _, token = header(scope, b"authorization").partition(" ")
        if scheme.lower() != "bearer":
            raise AuthError(f"the token is missing; {_HOW}")
        try:
            return self._tokens.principal(token.strip())
        except AuthError as error:
            raise AuthError(f"{error}; {_HOW}") from None
