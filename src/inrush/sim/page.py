"""The report of a simulation as one HTML file: numbers, and charts as SVG. It needs nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from inrush.sim.charts import Chart, Line
from inrush.sim.report import Report

WIDTH, HEIGHT, LEFT, BOTTOM = 900, 220, 70, 22
COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")

_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse } td, th { padding: .1em 1em .1em 0; text-align: left; vertical-align: top }
svg { width: 100%; height: auto } svg text { font-size: 11px; fill: #555 } h2 { font-size: 1.1em; margin: 1.5em 0 .3em }
.key span { margin-right: 1.5em }
"""


def page(report: Report, about: str, charts: Sequence[Chart]) -> str:
    """The whole page."""
    title = f"{report.scenario}, seed {report.seed}"
    body = "".join(_chart(chart) for chart in charts if chart.time_s)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1><p>{escape(about)}</p>{body}<h2>Numbers</h2>{_table(report.as_dict())}</html>\n"
    )


def _table(values: dict[str, Any]) -> str:
    rows = (
        f"<tr><th>{escape(str(name).replace('_', ' '))}</th><td>{_cell(value)}</td></tr>"
        for name, value in values.items()
    )
    return f"<table>{''.join(rows)}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return _table(value)
    return escape(f"{value:,}" if isinstance(value, int | float) else str(value))


def _chart(chart: Chart) -> str:
    most = max((max(line.values, default=0.0) for line in chart.lines), default=0.0) or 1.0
    last = chart.time_s[-1] or 1.0
    lines = "".join(_line(line, chart.time_s, last, most, color) for line, color in _colored(chart.lines))
    key = "".join(f'<span style="color:{color}">■ {escape(line.name)}</span>' for line, color in _colored(chart.lines))
    grid = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{most * share:,.4g}</text>'
        for share, y in ((share, _y(share)) for share in (0.0, 0.5, 1.0))
    )
    times = "".join(
        f'<text x="{LEFT + (WIDTH - LEFT) * share:.0f}" y="{HEIGHT - 4}" text-anchor="{anchor}">'
        f"{last * share:,.4g} s</text>"
        for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
    )
    return (
        f'<h2>{escape(chart.title)}</h2><div class="key">{key}</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}">{grid}{times}{lines}</svg>'
    )


def _line(line: Line, time_s: Sequence[float], last: float, most: float, color: str) -> str:
    points = " ".join(
        f"{LEFT + (WIDTH - LEFT) * at / last:.1f},{_y(value / most):.1f}"
        for at, value in zip(time_s, line.values, strict=True)
    )
    return f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.3"/>'


def _y(share: float) -> float:
    return 8 + (HEIGHT - BOTTOM - 8) * (1 - share)


def _colored(lines: Sequence[Line]) -> Iterator[tuple[Line, str]]:
    yield from zip(lines, COLORS, strict=False)
