"""What containers of each (app, image) were seen to import, kept over restarts: a small file for each, by the key of
its bare zygote, which changes with image, guest and kernel.

A package that left something behind when it was imported ahead, or could not be, is on the file's skip list with the
reason. What is known is forgotten after a week, so that packages no longer imported do not stay for ever.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

FORGET_S = 7 * 24 * 3600.0
MAX_KNOWN = 256
"""(app, image) pairs that are remembered."""
MAX_IMPORTS = 256
MAX_NAME_CHARS = 200
WORTH_MS = 20.0
"""Imports that take less in all are left to the containers."""


@dataclass
class Known:
    """Milliseconds by name, in the order of import, and reasons by the names that are skipped."""

    since: float = field(default_factory=time.time)
    imports: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


class Learned:
    """All of a node, below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Known] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, key: str, imports: Iterable[tuple[str, float]]) -> None:
        """A guest says that it imported these; it runs user code, so what it says is checked."""
        known, news = self._of(key), False
        for name, ms in imports:
            good = len(name) <= MAX_NAME_CHARS and all(part.isidentifier() for part in name.split("."))
            if good and name not in known.imports and len(known.imports) < MAX_IMPORTS and 0 <= ms < 1e6:
                known.imports[name], news = ms, True
        if news:
            self._write(key, known)

    def skip(self, key: str, reasons: dict[str, str]) -> None:
        """These are not imported ahead again."""
        if reasons:
            known = self._of(key)
            known.skipped.update(reasons)
            self._write(key, known)

    def ahead(self, key: str) -> tuple[str, ...]:
        """What is worth importing ahead, in order."""
        known = self._of(key)
        names = tuple(name for name in known.imports if not _is_within(name, known.skipped))
        return names if sum(known.imports[name] for name in names) >= WORTH_MS else ()

    def ms(self, key: str, names: Iterable[str]) -> float:
        """How long importing these took."""
        imports = self._of(key).imports
        return sum(imports.get(name, 0.0) for name in names)

    def _of(self, key: str) -> Known:
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._read(key)
        if time.time() - known.since > FORGET_S:
            known = self._known[key] = Known()
        return known

    def _read(self, key: str) -> Known:
        with suppress(OSError, ValueError, TypeError):
            return Known(**json.loads((self._folder / key).read_text()))
        return Known()

    def _write(self, key: str, known: Known) -> None:
        with suppress(OSError):  # a full disk: it is learned anew another time
            new = self._folder / f".{key}"
            new.write_text(json.dumps(asdict(known)))
            new.replace(self._folder / key)
            files = sorted(self._folder.glob("zy-*"), key=lambda file: file.stat().st_mtime)
            for file in files[: len(files) - MAX_KNOWN]:
                file.unlink(missing_ok=True)
                self._known.pop(file.name, None)


def _is_within(name: str, skipped: dict[str, str]) -> bool:
    """A module of a package that is skipped is skipped too."""
    return any(name == package or name.startswith(package + ".") for package in skipped)
