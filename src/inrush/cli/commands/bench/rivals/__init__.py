"""The same work by others, one file a rival, each in a process of its own that takes all it started with it.

A rival is a module with `missing()`, a sentence when it cannot take part, `version()`, and `measure(quick, folder)`,
which yields `(row, name of the rival, samples)`; what it needs is imported there, so that inrush depends on none. Each
is used in the way that serves it best: warm workers for warm calls, batches where it has batches.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROWS = {
    "start.isolated_ms", "remote.cold_ms", "remote.warm_ms", "map.inputs_per_s", "burst.containers_per_s",
    "payload.gib_s",
}  # fmt: skip
"""Rows in which some rival takes part."""

_LIMIT_S, _QUICK_LIMIT_S = 120.0, 20.0
"""For each; what it reached until then counts."""
_END_LIMIT_S = 20.0


@dataclass
class Field:
    """What the rivals reached: samples by row and rival. `versions` tells of each what took part, or why it did not."""

    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def of(self, row: str) -> Mapping[str, Sequence[float]]:
        """By rival."""
        return self.samples.get(row, {})

    def take(self, lines: Iterable[dict[str, object]], name: str) -> None:
        """What the rival's process wrote."""
        for told in lines:
            if "samples" in told:
                self.samples.setdefault(str(told["row"]), {})[str(told["as"])] = list(told["samples"])  # type: ignore[call-overload]
            else:
                self.versions[name] = str(told.get("version") or told["missing"])


def run(name: str, quick: bool, reached: Field) -> None:
    """One rival, from its start to the end of all that it started."""
    command, limit_s = (
        [sys.executable, "-m", "inrush.cli.commands.bench.rivals", name],
        _QUICK_LIMIT_S if quick else _LIMIT_S,
    )
    with tempfile.TemporaryDirectory(prefix="ib-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "errors"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [*command, folder, *(["--quick"] if quick else [])],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
            )  # fmt: skip
        try:
            said, why = process.communicate(timeout=limit_s)[0], f"it ended with status {process.returncode}"
        except subprocess.TimeoutExpired:
            said, why = _ended(process), f"it took more than {limit_s:g} s"
        finally:
            _ended(process)
        reached.take(map(json.loads, said.splitlines()), name)
        if process.returncode:
            last = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            reached.versions[name] = f"not measured in full: {why}; {last[:200]}"


def _ended(process: subprocess.Popen[str]) -> str:
    """Asks it to end, which ends all below it; what it wrote until then."""
    if process.poll() is None:
        process.terminate()
        try:
            return process.communicate(timeout=_END_LIMIT_S)[0]
        except subprocess.TimeoutExpired:
            process.kill()
    return process.communicate()[0] if process.stdout and not process.stdout.closed else ""
