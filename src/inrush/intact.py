"""Files of the home that are read back: as they were written, or an error with the file's name and what to do about it.

A disk that fails, a crash of the machine or a hand that slips leaves files that are empty, cut or something else. None
of them is replaced in silence, for each stands for something that would be lost with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from inrush.errors import InvalidError

T = TypeVar("T")


def read(path: Path, check: Callable[[bytes], T], remedy: str) -> T | None:
    """What `check` makes of a file's content, as in `checked`; None where there is no file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror}; {remedy}") from None
    return checked(path, data, check, remedy)


def checked(path: Path, data: bytes, check: Callable[[bytes], T], remedy: str) -> T:
    """What `check` makes of the content of a file. It raises `ValueError`, `TypeError` or `KeyError` for content that
    cannot be. Raises `InvalidError`, which ends with the remedy."""
    try:
        return check(data)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise damaged(path, str(error), remedy) from None


def damaged(path: Path, why: str, remedy: str) -> InvalidError:
    """The error for a file that is not as it was written."""
    return InvalidError(f"{path} is damaged: {why}; {remedy}")
