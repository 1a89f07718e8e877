"""Tables in files, whatever they were written by: values between commas, semicolons, tabs or bars, or an object of JSON
a line; packed by gzip or not; with or without a byte order mark, comments and blank lines.

What comes out are rows of text with their line numbers. Of a file of JSON the first row is made of its names.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from inrush.errors import InvalidError

Row = tuple[int, list[str]]


def rows(path: str) -> Iterator[Row]:
    """(line, cells). Raises `InvalidError` for a file that cannot be read."""
    try:
        with _open(path) as file:
            sample = file.read(4096)
            file.seek(0)
            yield from _objects(path, file) if sample.lstrip().startswith("{") else _separated(file, sample)
    except (OSError, EOFError) as error:
        raise InvalidError(f"the trace {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except csv.Error as error:
        raise InvalidError(f"the trace {path} is not a table: {error}") from None


def _open(path: str) -> IO[str]:
    with Path(path).open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if packed:
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return Path(path).open(encoding="utf-8-sig", errors="replace", newline="")


def _separated(file: IO[str], sample: str) -> Iterator[Row]:
    first = next((line for line in sample.splitlines() if line.strip() and not line.startswith("#")), "")
    reader = csv.reader(file, delimiter=max(",;\t|", key=first.count), skipinitialspace=True)
    for row in reader:
        if any(cell.strip() for cell in row) and not row[0].startswith("#"):
            yield reader.line_num, row


def _objects(path: str, file: IO[str]) -> Iterator[Row]:
    names: list[str] = []
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
            told.keys()
        except (ValueError, AttributeError):
            raise InvalidError(f"{path}, line {number}: not an object of JSON") from None
        if not names:
            names = list(told)
            yield number, names
        yield number, ["" if told.get(name) is None else str(told[name]) for name in names]
