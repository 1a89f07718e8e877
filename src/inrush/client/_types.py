"""What parts of the SDK know of one another by type alone, so that none of their files import one another in a circle.

App, Function, Cls and their calls lead to one another for their users. Here stands what each needs of those above it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from inrush.client._connection import Link
    from inrush.client._reference import Reference
    from inrush.client.image import Image
    from inrush.client.secret import Secret


class Target(NamedTuple):
    """Where a call goes: the id of a function or of one variant of a class, and the method."""

    function: str
    method: str = ""


class Called(Protocol):
    """A function or method that can be called: its name for people, and how its target is found."""

    name: str
    reference: Reference

    @property
    def takes(self) -> Callable[..., Any] | None:
        """What its arguments are checked against; None where its code is not here."""

    @property
    def target(self) -> Find:
        """Finds where calls go, over a link."""


class Find(Protocol):
    """Finds the target of calls. Raises `NotFoundError`, or `InvalidError` where the app does not run."""

    async def __call__(self, link: Link, /) -> Target: ...


class Declared(Protocol):
    """An app: what a program declares in it, and what it is started with."""

    name: str | None
    tags: dict[str, str]
    image: Image | None
    secrets: tuple[Secret, ...]
    include_source: bool

    @property
    def registered_functions(self) -> Mapping[str, Any]:
        """Its functions by name."""

    @property
    def registered_classes(self) -> Mapping[str, Any]:
        """Its classes by name."""
