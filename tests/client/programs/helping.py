"""A local module that a program imports."""

from pathlib import Path


def helped() -> str:
    return "by a local module"


def leave_mark(text: str) -> None:
    Path("/opt/mark").write_text(text)
