"""What apps and functions may be called, and which variables they may have, whatever program declares it.

Numbers of a spec are bounded by the schema (`wire/structs.py`).
"""

from __future__ import annotations

from inrush import wire
from inrush.errors import InvalidError

MAX_APP_NAME_CHARACTERS = 128
MAX_TAG_CHARACTERS = 128


def check_words(app: str, function: wire.FunctionSpec) -> None:
    """Raises `InvalidError` for names that could not be shown, and variables that no process could have."""
    for name in (function.name, *function.methods):
        if not name or not name.isprintable():
            raise InvalidError(f"app {app!r} has a function or method {name[:80]!r}; a name has printable characters")
    for key, value in function.env:
        if not key or "=" in key or "\0" in key + value:
            raise InvalidError(f"{function.name} of app {app!r}: {key[:80]!r} cannot be a variable of a process")


def check_app_name(name: str) -> None:
    """Raises `InvalidError` for a name that an app cannot have, since keys on nodes contain it."""
    if not 0 < len(name) <= MAX_APP_NAME_CHARACTERS or "/" in name or not name.isprintable():
        raise InvalidError(
            f"an app has a name of 1 to {MAX_APP_NAME_CHARACTERS} printable characters without a slash, "
            f"not {name[:MAX_APP_NAME_CHARACTERS]!r}"
        )


def check_tag(tag: str) -> None:
    """Raises `InvalidError` for a tag that is too long, or could not be shown."""
    if len(tag) > MAX_TAG_CHARACTERS or not tag.isprintable():
        raise InvalidError(
            f"a tag has up to {MAX_TAG_CHARACTERS} printable characters, not {tag[:MAX_TAG_CHARACTERS]!r}"
        )
