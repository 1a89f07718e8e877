"""Principals: the owner, the holder of a token, or user code in a container, with its rights and its environment.

Every ask of a link and every route of the API declares the right that it needs. A right holds in one environment, or in
all. For a principal, what it does not reach does not exist.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, Protocol, get_args

from inrush.errors import PermissionDeniedError

Right = Literal["admin", "deploy", "call", "read"]
RIGHTS: Final[tuple[Right, ...]] = get_args(Right)
"""`deploy` allows to start, change and stop apps, and to run commands in their containers; `call` to call functions and
use Dicts; `read` to look; `admin` to make tokens, and everything else."""


class Principal(NamedTuple):
    """Somebody who makes requests. An empty `environment` means all of them."""

    id: str
    name: str
    rights: frozenset[str]
    environment: str = ""
    app: str = ""
    """The name of the app, for user code in a container; else empty."""
    expires: float = 0.0
    """When its token expires, in seconds since the epoch; 0 for never."""

    def may(self, right: Right) -> bool:
        """Whether it has a right, in its environment or everywhere."""
        return right in self.rights or "admin" in self.rights

    def reaches(self, environment: str) -> bool:
        """Whether its rights hold in an environment."""
        return not self.environment or self.environment == environment

    def need(self, right: Right, what: str, everywhere: bool = False) -> None:
        """Raises `PermissionDeniedError` if it lacks the right for `what`. With `everywhere`, the right must hold in
        all environments."""
        if self.app and not self.may(right):
            raise PermissionDeniedError(
                f"user code in a container may not do this ({what}); do it in a program outside of containers"
            )
        if not self.may(right):
            raise PermissionDeniedError(f"{what} needs the right {right!r}, which {self.name} does not have")
        if everywhere and self.environment:
            raise PermissionDeniedError(
                f"{what} concerns all environments, and {self.name} is for {self.environment!r} alone"
            )


OWNER: Final = Principal("owner", "the owner", frozenset(RIGHTS))
"""The principal of everybody who can open the home, or has its token."""


def in_container(container: str, environment: str, app: str, restricted: bool) -> Principal:
    """The principal of user code in a container. With `restrict_access` (`restricted`) it has no rights."""
    rights: frozenset[str] = frozenset() if restricted else frozenset(("call",))
    return Principal(container, f"code of app {app!r}", rights, environment, app)


class Scope(NamedTuple):
    """The scope of one request: names are looked up in `environment`, and ids wherever its principal reaches."""

    principal: Principal
    environment: str

    def reaches(self, environment: str) -> bool:
        """Whether the request may see something of an environment."""
        return self.principal.reaches(environment)


class Asker(Protocol):
    """Something that has a principal."""

    @property
    def principal(self) -> Principal: ...


def owns_call(principal: Principal, environment: str, app: str, caller: str) -> bool:
    """Whether a principal may find, await and cancel a call: one of its environment, and for user code only one that
    its app made, or that runs a function of its app."""
    return principal.reaches(environment) and (not principal.app or principal.app in (app, caller))
