"""Writes the measured part of docs/benchmarks.md from benchmarks/results.json; `make bench` calls it at its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
MARK = "<!-- measured: written by `make bench` -->\n"
HIGHER = ("/s",)


def lines(report: dict[str, Any]) -> Iterator[str]:
    machine = report["machine"]
    yield (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_mib'] / 1024:.0f} GiB, "
        f"Linux {machine['kernel']}, "
        f"Python {machine['python']}; commit `{report['commit'][:12]}`; load before {machine['load_before']}."
    )
    yield ""
    yield "| | n | p50 | p95 | p99 | must | goal | |"
    yield "|---|---:|---:|---:|---:|---:|---:|---|"
    for row in report["rows"]:
        bounds = (_bound(row, "must"), _bound(row, "goal"))
        verdict = "" if "must" not in row else "goal" if row["goal_reached"] else "yes" if row["pass"] else "**no**"
        values = (_number(row[name]) for name in ("p50", "p95", "p99"))
        yield f"| `{row['name']}` | {row['n']:,} | {' | '.join(values)} | {' | '.join(bounds)} | {verdict} |"
    yield ""
    yield "How many times better (or, below 1, worse) than the same work by others, by medians:"
    yield ""
    yield "| | " + " | ".join(names := _rivals(report)) + " |"
    yield "|---|" + "---:|" * len(names)
    for row in report["rows"]:
        if row["against"]:
            yield f"| `{row['name']}` | " + " | ".join(_times(row, name) for name in names) + " |"
    yield ""
    yield "Who took part: " + "; ".join(f"{name} {said}" for name, said in machine["rivals"].items()) + "."


def _rivals(report: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(name for row in report["rows"] for name in row["against"]))


def _times(row: dict[str, Any], name: str) -> str:
    """Better, whether more or less is better."""
    ratio = row["against"].get(name)
    if not ratio:
        return ""
    return _number(ratio if row["unit"] in HIGHER else 1 / ratio)


def _bound(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return ""
    late = row.get(f"{name}_p95")
    return f"{row[name]:,g}" if late is None else f"{row[name]:,g} / {late:,g}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main() -> None:
    report = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    PAGE.write_text(PAGE.read_text().partition(MARK)[0] + MARK + "\n" + "\n".join(lines(report)) + "\n")


if __name__ == "__main__":
    main()
