"""Who asks: the owner, the holder of a token, or user code in a container; what they may, and where they look.

Every ask of a link and every route of the API declares the right that it needs. A right holds in one environment, or in
all. What a principal does not reach looks to it as if it were not there.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, Protocol, get_args

from inrush.errors import PermissionDeniedError

Right = Literal["admin", "deploy", "call", "read"]
RIGHTS: Final[tuple[Right, ...]] = get_args(Right)
"""`deploy` starts, changes and stops apps, and runs commands in their containers; `call` calls functions and uses
Dicts; `read` looks; `admin` makes tokens, and has all the others."""


class Principal(NamedTuple):
    """One who asks. An empty `environment` stands for all of them."""

    id: str
    name: str
    rights: frozenset[str]
    environment: str = ""
    app: str = ""
    """Of user code in a container: the name of its app."""
    expires: float = 0.0
    """When its token ends, in seconds since the epoch; 0 for never."""

    def may(self, right: Right) -> bool:
        """Whether it has a right, somewhere."""
        return right in self.rights or "admin" in self.rights

    def reaches(self, environment: str) -> bool:
        """Whether its rights hold there."""
        return not self.environment or self.environment == environment

    def need(self, right: Right, what: str, everywhere: bool = False) -> None:
        """Raises `PermissionDeniedError` where it lacks the right. `everywhere`: what concerns all environments."""
        if self.app and not self.may(right):
            raise PermissionDeniedError(
                f"user code in a container may not do this ({what}); do it from the program that deploys"
            )
        if not self.may(right):
            raise PermissionDeniedError(f"{what} needs the right {right!r}, which {self.name} does not have")
        if everywhere and self.environment:
            raise PermissionDeniedError(
                f"{what} concerns all environments, and {self.name} is for {self.environment!r} alone"
            )


OWNER: Final = Principal("owner", "the owner", frozenset(RIGHTS))
"""Whoever can open the home, or has its token."""


def in_container(container: str, environment: str, app: str, restricted: bool) -> Principal:
    """User code in a container. With `restrict_access` it may ask for nothing."""
    rights: frozenset[str] = frozenset() if restricted else frozenset(("call",))
    return Principal(container, f"code of app {app!r}", rights, environment, app)


class Scope(NamedTuple):
    """Where one request looks: for names in `environment`, for ids wherever its principal reaches."""

    principal: Principal
    environment: str

    def reaches(self, environment: str) -> bool:
        """Whether something of that environment is there for it."""
        return self.principal.reaches(environment)


class Asker(Protocol):
    """Whoever owns calls, or asks for them."""

    @property
    def principal(self) -> Principal: ...


def owns_call(principal: Principal, environment: str, app: str, caller: str) -> bool:
    """Whether a call is its to find, await and cancel: of its environment, and for user code also one that its app
    made, or that runs a function of its app."""
    return principal.reaches(environment) and (not principal.app or principal.app in (app, caller))
