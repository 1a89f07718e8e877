"""Arguments for a function whose signature is not here, from the words of a command line.

`3 --name ada --fast --no-cache --sizes '[1, 2]'` gives `(3,)` and `{"name": "ada", "fast": True, "cache": False,
"sizes": [1, 2]}`. What is JSON is read as JSON, and anything else is text; a text that looks like a number is written
with its quotes: `--x '"3"'`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click


def parse(words: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Positional and named arguments. After a `--` all words are positional."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*positional, *map(value, rest)], named
        if not word.startswith("--"):
            positional.append(value(word))
            continue
        name, given, text = word[2:].partition("=")
        if not given and rest and not rest[0].startswith("--"):
            given, text = "=", rest.pop(0)
        is_off = not given and name.startswith("no-")
        key = name.removeprefix("no-" if is_off else "").replace("-", "_")
        if not key.isidentifier():
            raise click.UsageError(f"{word} is not the name of a parameter: write --NAME VALUE")
        named[key] = value(text) if given else not is_off
    return positional, named


def value(text: str) -> Any:
    """A value as JSON, else as text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
