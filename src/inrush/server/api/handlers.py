"""What the handlers of all routes share."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from inrush.server.api.route import who
from inrush.server.control import ControlPlane
from inrush.server.trust.principal import Scope


class Handlers:
    """The handlers of one server."""

    def __init__(self, server: ControlPlane) -> None:
        self._server = server

    def _scope(self, request: HTTPConnection) -> Scope:
        """Whom a request is about: an environment that its token reaches. Raises an error if there is none."""
        return self._server.environments.scope(who(request), request.query_params.get("environment", ""))
