"""Reading `.env` files, by the grammar of python-dotenv: quotes, escapes, several lines, comments, `export`, `${NAME}`.

A value in single or double quotes may span lines. In double quotes `\\n`, `\\"` and their like are escapes, in single
quotes `\\'` and `\\\\` are. `${NAME}` and `${NAME:-default}` stand for a variable of the file above, else for one of
this process.
"""

from __future__ import annotations

import codecs
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

_SPACE = r"[^\S\r\n]*"
_BINDING = re.compile(
    rf"""
    {_SPACE}(?:export[^\S\r\n]+)?
    (?:'(?P<quoted_name>[^']+)'|(?P<name>(?!')[^=\#\s]+))
    {_SPACE}(?:={_SPACE}
        (?:'(?P<single>(?:\\'|[^'])*)'|"(?P<double>(?:\\"|[^"])*)"|(?P<plain>(?!['"])[^\r\n]*))
    )?
    (?:{_SPACE}\#[^\r\n]*)?{_SPACE}(?:\r\n|\n|\r|\Z)
    """,
    re.VERBOSE,
)
_EMPTY = re.compile(r"\s*(?:\#[^\r\n]*(?:\r\n|\n|\r|\Z))?")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r|\Z)")
_DOUBLE_ESCAPES = re.compile(r"""\\[\\'"abfnrtv]""")
_SINGLE_ESCAPES = re.compile(r"\\[\\']")
_VARIABLE = re.compile(r"\$\{(?P<name>[^\}:]*)(?::-(?P<default>[^\}]*))?\}")


def read(path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a file; `environ` are those of this process."""
    return parse(path.read_text(encoding="utf-8"), str(path), environ)


def parse(text: str, where: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a text. A name without a value is empty. What cannot be read is left out, with a warning that
    names its line."""
    values: dict[str, str] = {}
    text, at = text.removeprefix("\ufeff"), 0
    while (at := _skip(text, at)) < len(text):
        found = _BINDING.match(text, at)
        if found is None:
            number = len(re.findall(r"\r\n|\n|\r", text[:at])) + 1
            warnings.warn(f"{where}, line {number}: this is not NAME=value, and is left out", stacklevel=4)
            at = _end_of_line(text, at)
            continue
        name = found["quoted_name"] or found["name"]
        values[name] = _resolved(_value(found), {**environ, **values})
        at = found.end()
    return values


def _skip(text: str, at: int) -> int:
    """Behind empty lines and comments."""
    while (found := _EMPTY.match(text, at)) is not None and found.end() > at:
        at = found.end()
    return at


def _end_of_line(text: str, at: int) -> int:
    found = _LINE.match(text, at)
    return found.end() if found is not None and found.end() > at else len(text)


def _value(found: re.Match[str]) -> str:
    if found["single"] is not None:
        return _unescaped(_SINGLE_ESCAPES, found["single"])
    if found["double"] is not None:
        return _unescaped(_DOUBLE_ESCAPES, found["double"])
    return re.sub(r"\s+#.*", "", found["plain"] or "").rstrip()


def _unescaped(escapes: re.Pattern[str], text: str) -> str:
    return escapes.sub(lambda escape: codecs.decode(escape[0], "unicode-escape"), text)


def _resolved(value: str, known: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda variable: known.get(variable["name"], variable["default"] or ""), value)
