"""The options and the output of commands that show what containers print."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from inrush.cli import api
from inrush.cli.screen import screen

Command = TypeVar("Command", bound=Callable[..., Any])


def options(command: Command) -> Command:
    """Decorator: `--follow`, `--lines`, `--json`, as `follow`, `lines`, `as_json`."""
    command = click.option("--json", "as_json", is_flag=True, help="Print one JSON object in each line.")(command)
    how_many = "The number of latest lines to begin with."
    command = click.option("--lines", "-n", default=100, show_default=True, help=how_many)(command)
    return click.option("--follow", "-f", is_flag=True, help="Follow new lines.")(command)


def show(path: str, follow: bool, lines: int, as_json: bool) -> None:
    """The lines at `path` of the API."""
    for line in api.lines(path, backlog=lines, follow=int(follow)):
        screen.log_line(line, as_json)
