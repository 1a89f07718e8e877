"""Which local files are left out when a folder is sent: patterns by Docker's rules for a .dockerignore file, or any
function of a path.

Docker's rules are those of moby/patternmatcher: a pattern is cleaned as a path, matches a path or one of the folders
above it, and the last pattern that matches decides.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from inrush.errors import InvalidError

Pattern = str | Sequence[str] | Callable[[Path], bool]

_WILD = {"**": ".*", "**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
_PART = re.compile(r"\*\*/?|\*|\?|\\.|\\|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)


class FilePatternMatcher:
    """`FilePatternMatcher("*.py[co]", "**/data/**", "!keep.txt")(path)`: is the path (relative to the folder sent)
    matched?

    `*` and `?` stay inside one part of the path, `**` spans parts, `[a-z]` is one of these characters, a backslash
    takes the next character as it is. A leading `!` takes back, below a folder that matches too, and the last pattern
    that matches decides. A folder that matches takes all below it along. `~matcher` is its opposite. Raises
    `InvalidError` for a pattern that cannot be read.
    """

    def __init__(self, *patterns: str) -> None:
        self._rules = [rule for pattern in patterns if (rule := _rule(pattern)) is not None]
        self.takes_back = any(not takes for takes, _ in self._rules)
        """Whether something below a folder that matches may not match."""

    @staticmethod
    def from_file(file: str | Path) -> FilePatternMatcher:
        """Patterns from a file, one a line; empty lines and those that begin with # are left out."""
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
        return FilePatternMatcher(*(line for line in lines if not line.startswith("#")))

    def __call__(self, path: Path) -> bool:
        parts = Path(path).as_posix().split("/")
        paths = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        matched = False
        for takes, regex in self._rules:
            if takes != matched and any(map(regex.fullmatch, paths)):
                matched = takes
        return matched

    def __invert__(self) -> Callable[[Path], bool]:
        return _Opposite(self)


class _Opposite:
    """Matches what a matcher does not. Any folder may hold such files."""

    takes_back = True

    def __init__(self, of: FilePatternMatcher) -> None:
        self._of = of

    def __call__(self, path: Path) -> bool:
        return not self._of(path)

    def __invert__(self) -> Callable[[Path], bool]:
        return self._of


def _rule(pattern: str) -> tuple[bool, re.Pattern[str]] | None:
    """Whether it takes or takes back, and which paths; None for a line without a pattern."""
    if not isinstance(pattern, str):
        raise InvalidError(f"a pattern of files is a string, not {pattern!r}")
    text = pattern.strip()
    takes = not text.startswith("!")
    text = text if takes else text[1:].strip()
    if not text and takes:
        return None
    cleaned = posixpath.normpath(text).lstrip("/") if text else ""
    if not cleaned:
        raise InvalidError(f"the pattern {pattern!r} names no file")
    try:
        return takes, re.compile("".join(map(_regex, _PART.findall(cleaned))))
    except re.error as error:
        raise InvalidError(f"the pattern {pattern!r} cannot be read: {error}") from None


def _regex(part: str) -> str:
    """The regular expression of one part of a pattern."""
    if part in _WILD:
        return _WILD[part]
    if part[0] == "[":
        if len(part) == 1:
            raise re.error("a [ is not closed")
        return part
    return re.escape(part[-1])


def ignore(given: Pattern) -> Callable[[Path], bool]:
    """What the user gave, as a function."""
    if isinstance(given, str):
        return FilePatternMatcher(given)
    return given if callable(given) else FilePatternMatcher(*given)


def may_hold_more(given: Callable[[Path], bool]) -> bool:
    """Whether a folder that is ignored may hold files that are not."""
    return bool(getattr(given, "takes_back", False))


def not_python(path: Path) -> bool:
    """The default for Python source: everything but .py files, in folders that may hold some."""
    return path.name == "__pycache__" or (path.suffix != "" and path.suffix != ".py") or path.name.startswith(".")
