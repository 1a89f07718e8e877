"""The charts of a simulation as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inrush.errors import InvalidError
from inrush.sim.charts import Chart


def draw(charts: Sequence[Chart], title: str, path: Path) -> None:
    """Write a PNG. Raises `InvalidError` where matplotlib is not there."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise InvalidError(
            "pictures need matplotlib: pip install 'inrush[bench]'; the HTML page needs nothing"
        ) from None
    figure = Figure(figsize=(11, 2.6 * len(charts)), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(len(charts), 1, sharex=True, squeeze=False)[:, 0]
    for chart, axis in zip(charts, axes, strict=True):
        for line in chart.lines:
            axis.plot(chart.time_s, line.values, label=line.name, linewidth=1)
        axis.set_title(chart.title, loc="left", fontsize="medium")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        if chart.lines:
            axis.legend(loc="upper right", fontsize="small")
    axes[-1].set_xlabel("virtual seconds")
    figure.savefig(path, dpi=110, metadata={"Software": None})
