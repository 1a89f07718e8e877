"""The options and the output of commands that show what containers print."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from inrush.cli import api
from inrush.cli.moments import Moment
from inrush.cli.screen import screen

Command = TypeVar("Command", bound=Callable[..., Any])

ALL_LINES = 100_000
"""As many as the server gives."""
_LINES = 100
_SOURCES = ("stdout", "stderr", "system")


def options(command: Command) -> Command:
    """Decorator: the options of `show`, as its keyword arguments."""
    how_many = f"The number of latest lines to begin with ({_LINES}; with --since all)."
    since = "Only lines from then on: 10m, 2h, 3d (ago), 2026-05-01T12:30."
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object in each line."),
        click.option("--timestamps", is_flag=True, help="Show when each line was printed."),
        click.option("--source", "-s", type=click.Choice(_SOURCES), help="Only lines that came this way."),
        click.option("--function-call", "call", metavar="ID", help="Only lines of this call."),
        click.option("--search", metavar="TEXT", help="Only lines with this text in them."),
        click.option("--until", type=Moment(), help="Only lines up to then."),
        click.option("--since", type=Moment(), help=since),
        click.option("--all", "every", is_flag=True, help="All lines that are kept."),
        click.option("--lines", "-n", "--tail", type=click.IntRange(min=0), help=how_many),
        click.option("--follow", "-f", is_flag=True, help="Follow new lines, until what prints them has ended."),
    ):
        command = option(command)
    return command


def show(
    path: str, follow: bool, lines: int | None, as_json: bool, timestamps: bool, every: bool = False, **wanted: Any
) -> None:
    """The lines at `path` of the API."""
    if follow and wanted.get("until") is not None:
        raise click.UsageError("--follow shows what comes, and --until what was; give one of them")
    if lines is None:
        lines = ALL_LINES if every or wanted.get("since") is not None else _LINES
    for line in api.lines(path, backlog=lines, follow=int(follow), **wanted):
        screen.log_line(line, as_json, timestamps)
