"""What is said of a name that is not there: which one was meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING


def hint(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing where no known name is near."""
    import difflib

    near = difflib.get_close_matches(name, sorted(set(known)), 1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


class Suggests:
    """A base of what programs use by its attributes: a misspelled one is answered with the nearest."""

    if not TYPE_CHECKING:  # so that type checkers find misspelled names

        def __getattr__(self, name):
            kind = type(self).__name__
            if name.startswith("_"):
                raise AttributeError(f"{kind!r} object has no attribute {name!r}")
            public = [known for known in dir(type(self)) if not known.startswith("_")]
            raise AttributeError(f"{kind!r} object has no attribute {name!r}{hint(name, public)}", name=name, obj=None)
