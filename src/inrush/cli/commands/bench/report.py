"""The report: `machine`, `commit` and `rows`, put together while it is measured, with a line for people each time."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from inrush.cli.commands.bench import machine, rivals
from inrush.cli.commands.bench.rows import Measured, Skipped, line, row


class Report:
    """`told` is what goes into the file; `missed` are the rows that are worse than they must be, or failed."""

    def __init__(self, quick: bool, say: Callable[[str], Any]) -> None:
        self.missed: list[str] = []
        self.told: dict[str, Any] = {
            "machine": {**machine.describe(), "quick": quick, "rivals": {}},
            "commit": machine.commit(),
            "rows": [],
        }
        self._quick = quick
        self._say = say
        self._field = rivals.Field()

    def compete(self, names: Sequence[str], rows: set[str]) -> None:
        """Lets rivals run, if one of these rows has any; before ours, so that each of our lines tells the ratio."""
        if not rows & rivals.ROWS:
            return
        for name in names:
            rivals.run(name, self._quick, self._field)
            self._say(f"      {name}: {self._field.versions[name]}")
        self.told["machine"]["rivals"] = self._field.versions

    def take(self, result: Measured | Skipped) -> None:
        """One row more, or why there is none."""
        if isinstance(result, Skipped):
            self.missed += [result.what] * result.failed
            self._say(f"      {result.what}: {result.why}")
            return
        beside = {**self._field.of(result.name), **result.rivals}
        made = row(result._replace(rivals=beside))
        self.missed += [result.name] * (not made["pass"])
        self.told["rows"].append(made)
        self._say(line(made))

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(self.told, indent=2, ensure_ascii=False) + "\n")
        self._say(f"wrote {path}")
