"""The report of a simulation as one HTML file with numbers and SVG charts. It loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from inrush.sim.charts import Chart, headline, ticks
from inrush.sim.report import Report

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 230, 64, 14, 8, 22

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #1d2430 }
h1 { font-size: 1.6em; margin: 0 }
h2 { font-size: 1.05em; margin: 2em 0 .2em }
p { color: #667080; margin: .2em 0 1.5em }
.facts { display: flex; flex-wrap: wrap; gap: .8em }
.facts div { border: 1px solid #d9dee7; border-radius: 8px; padding: .6em 1em }
.facts b { display: block; font-size: 1.15em; font-variant-numeric: tabular-nums }
.facts span { color: #667080; font-size: .85em }
svg { width: 100%; height: auto; display: block }
svg text { font-size: 11px; fill: #667080 }
.key span { margin-right: 1.4em; font-size: .9em }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .4em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .95em }
td, th { padding: .15em 1.2em .15em 0; text-align: left; vertical-align: top }
th { font-weight: 500; color: #667080 }
"""


def page(report: Report, about: str, charts: Sequence[Chart]) -> str:
    """The whole page as HTML."""
    title = f"{report.scenario}, seed {report.seed}"
    facts = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in headline(report).items()
    )
    body = "".join(_chart(chart) for chart in charts if chart.time_s)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f'<h1>{escape(title)}</h1><p>{escape(about)}</p><div class="facts">{facts}</div>{body}'
        f"<h2>All numbers</h2>{_table(report.as_dict())}</html>\n"
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
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return escape(f"{value:,}" if number else str(value))


def _chart(chart: Chart) -> str:
    most = max((max(line.values, default=0.0) for line in chart.lines), default=0.0) or 1.0
    last = chart.time_s[-1] or 1.0
    lines = "".join(_line(chart, values, most, color) for (_, values), color in chart.colored)
    key = "".join(
        f'<span><i style="background:{color}"></i>{escape(line.name)}</span>' for line, color in chart.colored
    )
    grid = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_y(at / most):.1f}" y2="{_y(at / most):.1f}" stroke="#d9dee7"/>'
        f'<text x="{LEFT - 8}" y="{_y(at / most) + 4:.1f}" text-anchor="end">{at:,.5g}</text>'
        for at in ticks(most)
    )
    times = "".join(
        f'<text x="{_x(at / last):.1f}" y="{HEIGHT - 4}" text-anchor="middle">{at:,.5g} s</text>'
        for at in ticks(last, 8)
    )
    return (
        f'<h2>{escape(chart.title)}</h2><div class="key">{key}</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">'
        f"{'' if chart.nested else grid}{lines}{grid if chart.nested else ''}{times}</svg>"
    )


def _line(chart: Chart, values: Sequence[float], most: float, color: str) -> str:
    last = chart.time_s[-1] or 1.0
    points = [f"{_x(at / last):.1f},{_y(value / most):.1f}" for at, value in zip(chart.time_s, values, strict=True)]
    if chart.nested:
        ends = f"{_x(1):.1f},{_y(0):.1f} {_x(chart.time_s[0] / last):.1f},{_y(0):.1f}"
        return f'<polygon points="{" ".join(points)} {ends}" fill="{color}"/>'
    return f'<polyline points="{" ".join(points)}" fill="none" stroke="{color}" stroke-width="1.5"/>'


def _x(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * share


def _y(share: float) -> float:
    return TOP + (HEIGHT - BOTTOM - TOP) * (1 - share)
