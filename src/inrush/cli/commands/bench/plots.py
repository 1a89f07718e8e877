"""A report as two pictures: the phases of a start, stacked; and numbers beside those of rivals, on log axes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inrush.cli.commands.bench.targets import PHASES, TARGETS
from inrush.errors import InvalidError

_INK, _PALE, _OURS, _GRID = "#1f2933", "#8a97a6", "#d9480f", "#e4e7eb"
_PHASE_COLORS = ("#12304f", "#1b4b72", "#246b93", "#3b8fb0", "#6fb3c4", "#a9d3d3", "#f2c14e", "#e8833a")
_COLUMNS = 2
_STYLE: Any = {
    "font.family": "DejaVu Sans", "font.size": 10, "text.color": _INK, "axes.labelcolor": _INK, "xtick.color": _INK,
    "ytick.color": _INK, "axes.edgecolor": _GRID, "axes.spines.top": False, "axes.spines.right": False,
    "axes.spines.left": False, "figure.facecolor": "white",
}  # fmt: skip
_NAMES = {
    "bare_python": "bare Python, exec", "ray_actor": "Ray actor", "ray_task": "Ray task", "dask": "Dask",
    "multiprocessing": "multiprocessing pool", "plain": "plain interpreter",
}  # fmt: skip


def draw(report: dict[str, Any], folder: Path) -> Iterator[Path]:
    """Writes what the report has rows for. Raises `InvalidError` where matplotlib is not there."""
    try:
        import matplotlib
    except ImportError:
        raise InvalidError("pictures need matplotlib: pip install 'inrush[bench]'") from None
    rows = {row["name"]: row for row in report["rows"]}
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_STYLE):
        if all(name in rows for name in PHASES):
            yield _saved(phases(rows), folder / "start-phases.png")
        compared = [row for row in report["rows"] if row["rivals"]]
        if compared:
            yield _saved(against(compared), folder / "against.png")


def phases(rows: dict[str, dict[str, Any]]) -> Any:
    """One bar: the median of each phase, behind one another."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.1), layout="constrained")
    axis = figure.subplots()
    at = 0.0
    for name, color in zip(PHASES, _PHASE_COLORS, strict=True):
        p50, p95 = rows[name]["p50"], rows[name]["p95"]
        said = f"{_phase(name)}  {p50:.2f}  ({p95:.2f})"
        axis.barh(0, p50, left=at, height=0.62, color=color, edgecolor="white", linewidth=1.2, label=said)
        at += p50
        if name == "phase.first_line_ms":
            _mark(axis, at, "first line of user code")
    axis.set_title("From the call, with no container, to the result", loc="left", fontweight="bold", pad=24)
    axis.set_xlim(0, at * 1.02)
    axis.set_ylim(-0.45, 0.45)
    axis.set_yticks([])
    axis.set_xlabel("milliseconds")
    figure.legend(
        loc="outside lower center", ncols=4, frameon=False, fontsize=9, handlelength=1.0,
        title="medians, and in brackets what 95 of 100 starts stay below", title_fontsize=9,
    )  # fmt: skip
    return figure


def against(compared: list[dict[str, Any]]) -> Any:
    """A panel a row: ours first, then the others from the best to the worst."""
    from matplotlib.figure import Figure

    lines = [compared[i : i + _COLUMNS] for i in range(0, len(compared), _COLUMNS)]
    slots = [1 + max(len(row["rivals"]) for row in line) for line in lines]
    figure = Figure(figsize=(11, 0.23 * sum(slots) + 0.72 * len(lines)), layout="constrained")
    axes = figure.subplots(len(lines), _COLUMNS, squeeze=False, height_ratios=[count + 0.6 for count in slots])
    for beside, line, count in zip(axes, lines, slots, strict=True):
        for axis, row in zip(beside, line, strict=False):
            _panel(axis, row, count)
        for axis in beside[len(line) :]:
            axis.set_visible(False)
    return figure


def _panel(axis: Any, row: dict[str, Any], slots: int) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    target = TARGETS[row["name"]]
    rivals = {_NAMES.get(name, name): rival["p50"] for name, rival in row["rivals"].items()}
    ordered = [("inrush", row["p50"]), *sorted(rivals.items(), key=lambda item: item[1], reverse=target.more)]
    values = [value for _, value in ordered]
    low = min(values) / 2.5
    high = max(values) * (max(values) / low) ** 0.3
    for place, (name, value) in enumerate(ordered):
        color = _OURS if name == "inrush" else _PALE
        axis.plot([low, value], [place, place], color=color, linewidth=2.4, solid_capstyle="butt", zorder=2)
        axis.plot([value], [place], "o", color=color, markersize=7, zorder=3)
        axis.text(value * (high / low) ** 0.025, place, _shown(value), va="center", fontsize=9, color=_INK)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlim(low, high)
    axis.set_yticks(range(len(ordered)), [name for name, _ in ordered])
    axis.get_yticklabels()[0].set(fontweight="bold", color=_OURS)
    axis.set_ylim(slots - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", which="both", labelsize=8, color=_GRID)
    axis.grid(axis="x", color=_GRID, linewidth=0.8, zorder=0)
    better = "more is better" if target.more else "less is better"
    axis.set_title(f"{row['name']}  ", loc="left", fontsize=10.5, fontweight="bold")
    axis.set_title(f"{row['unit']}, {better}", loc="right", fontsize=8.5, color=_PALE)


def _mark(axis: Any, at: float, text: str) -> None:
    axis.axvline(at, color=_OURS, linewidth=1.6, zorder=4)
    axis.annotate(
        f"{text}: {at:.1f} ms", (at, 0.45), xytext=(0, 4), textcoords="offset points", ha="center", color=_OURS,
        fontsize=9.5, annotation_clip=False,
    )  # fmt: skip


def _phase(name: str) -> str:
    return name.removeprefix("phase.").removesuffix("_ms").replace("_", " ")


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _saved(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=130, metadata={"Software": None})
    return path
