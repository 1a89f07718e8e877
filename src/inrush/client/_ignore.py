"""Which local files are left out when a folder is sent: patterns as in a .dockerignore file, or any function of a
path."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

Pattern = Sequence[str] | Callable[[Path], bool]


class FilePatternMatcher:
    """`FilePatternMatcher("*.pyc", "**/data/**", "!keep.txt")(path)`: is the path (relative to the folder sent)
    matched?

    `*` stays inside one part of the path, `**` spans parts, a leading `!` takes back, and the last pattern that matches
    decides. A folder that matches takes all below it along. `~matcher` is its opposite.
    """

    def __init__(self, *patterns: str) -> None:
        self._rules = [(not p.startswith("!"), _regex(p.removeprefix("!"))) for p in map(str.strip, patterns) if p]

    @staticmethod
    def from_file(file: str | Path) -> FilePatternMatcher:
        """Patterns from a file, one a line; empty lines and those that begin with # are left out."""
        lines = Path(file).read_text().splitlines()
        return FilePatternMatcher(*(line for line in lines if line.strip() and not line.startswith("#")))

    def __call__(self, path: Path) -> bool:
        matched = False
        text = path.as_posix()
        for takes, regex in self._rules:
            if regex.fullmatch(text):
                matched = takes
        return matched

    def __invert__(self) -> Callable[[Path], bool]:
        return lambda path: not self(path)


def _regex(pattern: str) -> re.Pattern[str]:
    parts = []
    for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern.strip("/")):
        parts.append({"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part)))
    return re.compile("".join(parts) + "(?:/.*)?")


def ignore(given: Pattern) -> Callable[[Path], bool]:
    """What the user gave, as a function."""
    return given if callable(given) else FilePatternMatcher(*given)


def not_python(path: Path) -> bool:
    """The default for Python source: everything but .py files, in folders that may hold some."""
    return path.name == "__pycache__" or (path.suffix != "" and path.suffix != ".py") or path.name.startswith(".")
