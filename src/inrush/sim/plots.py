"""The charts of a simulation as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inrush.errors import InvalidError
from inrush.sim.charts import Chart, headline
from inrush.sim.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAINT = "#667080"


def draw(charts: Sequence[Chart], report: Report, path: Path) -> None:
    """Writes a PNG. Raises `InvalidError` where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise InvalidError(
            "pictures need matplotlib: pip install 'inrush[bench]'; the HTML page needs nothing"
        ) from None
    figure = Figure(figsize=(11, 1.2 + 2.4 * len(charts)), layout=ConstrainedLayoutEngine(h_pad=0.12))
    figure.suptitle(f"{report.scenario}, seed {report.seed}", x=0.01, ha="left", fontsize=15, fontweight="bold")
    axes = figure.subplots(len(charts), 1, sharex=True, squeeze=False)[:, 0]
    for chart, axis in zip(charts, axes, strict=True):
        _chart(axis, chart)
    axes[-1].set_xlabel("virtual seconds", color=FAINT)
    told = "     ".join(f"{name}: {value}" for name, value in headline(report).items())
    figure.supxlabel(told, x=0.01, ha="left", fontsize=9, color=FAINT)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _chart(axis: Axes, chart: Chart) -> None:
    for line, color in chart.colored:
        if chart.nested:
            axis.fill_between(chart.time_s, line.values, color=color, label=line.name, linewidth=0)
        else:
            axis.plot(chart.time_s, line.values, color=color, label=line.name, linewidth=1.3)
    axis.set_title(chart.title, loc="left", fontsize=11, fontweight="bold")
    axis.set_ylim(bottom=0)
    axis.set_xlim(0, chart.time_s[-1] if chart.time_s else 1)
    axis.yaxis.set_major_formatter("{x:,g}")
    axis.grid(axis="y", alpha=0.3)
    axis.tick_params(colors=FAINT, length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    if chart.lines:
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(chart.lines), frameon=False, fontsize=9)
