"""What every struct of the schema is: a value (`Struct`), or something that is said (`Message`)."""

from __future__ import annotations

import msgspec


class Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of specs: immutable, compared by value."""


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag=True, array_like=True):
    """Base of messages: positional on the wire, tagged by class name."""
