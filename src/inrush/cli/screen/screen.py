"""What people see: rich on a terminal, plain lines elsewhere (so that output can be piped and grepped).

Rich is loaded only when there is a terminal to draw on.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from inrush.shown import harmless, visible_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from inrush import App

_INDENT, _LEAST_WIDTH = 2, 20
_KNOWN_BY = ("id", "name", "state", "number", "setting", "value")


def say(text: object = "", err: bool = False, nl: bool = True) -> None:
    """Prints text. All that commands print goes this way, since most of it holds words of somebody else. Only bytes go
    as they are, and not to a terminal."""
    raw = isinstance(text, bytes) and not is_terminal()
    colours = False if os.environ.get("NO_COLOR") else None
    # Named, or click would write UTF-8 to a terminal that says it is ASCII.
    click.echo(text if raw else harmless(str(text)), file=sys.stderr if err else sys.stdout, nl=nl, color=colours)


def drawn(text: str) -> Text:
    """The same for rich."""
    from rich.text import Text

    text = harmless(text)
    return Text.from_ansi(text) if "\x1b" in text else Text(text)


def is_terminal() -> bool:
    """Whether a person watches the output."""
    return sys.stdout.isatty()


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table; plain, aligned columns where no person watches."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if is_terminal():
        from rich.console import Console

        console = Console(color_system=None if os.environ.get("NO_COLOR") else "auto")
        (_in_columns if _fits(columns, texts, console.width) else _in_blocks)(console, columns, texts)
        return
    widths = [max(len(row[i]) for row in [list(columns), *texts]) for i in range(len(columns))]
    for row in [list(columns), *texts]:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _fits(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    widest = [max(drawn(cell).cell_len for cell in column) for column in zip(columns, *rows, strict=True)]
    return sum(widest) + 2 * (len(columns) - 1) <= width


def _in_columns(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    shown = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        shown.add_row(*map(drawn, row))
    console.print(shown)


def _in_blocks(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A few lines for each row, where a table is wider than the terminal. What most rows are known by stands without a
    label, and nothing is cut."""
    from rich.padding import Padding
    from rich.text import Text

    for row in rows:
        lines, indent = [Text()], 0
        for column, cell in zip(columns, row, strict=True):
            if not cell:
                continue
            label = ("", "") if column in _KNOWN_BY else (f"{column} ", "dim")
            part = Text.assemble(label, drawn(cell))
            if lines[-1] and indent + lines[-1].cell_len + 2 + part.cell_len > console.width:
                lines.append(Text())
                indent = _INDENT
            lines[-1] = Text("  ").join([lines[-1], part]) if lines[-1] else part
        for number, line in enumerate(lines):
            line.overflow = "fold"
            console.print(Padding(line, (0, 0, 0, _INDENT if number else 0), expand=False))


def paragraph(before: str, text: str) -> None:
    """Prints text behind something. On a terminal its further lines begin where the first did; elsewhere it is one
    line."""
    indent = len(click.unstyle(before))
    width = max(shutil.get_terminal_size().columns - indent, _LEAST_WIDTH) if is_terminal() else sys.maxsize
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) if len(text) > width else [text]
    for number, line in enumerate(lines):
        say((" " * indent if number else before) + line)


def as_json(value: Any) -> None:
    """Prints a value as JSON, for machines."""
    say(json.dumps(value, indent=2, default=str))


def acted(done: str, text: str, machine: bool, **about: Any) -> None:
    """Prints what a command did: for people as a sentence, for machines as an object. Its `done` is the verb, and
    `about` names what it was done to, by the same fields as `list` and `info`."""
    if machine:
        as_json({"done": done, **about})
    else:
        say(text)


def acted_on(done: str, app: App, name: str) -> None:
    """The same for machines, of an app that runs or is deployed, with its endpoints."""
    as_json({"done": done, "app": app.app_id, "name": name, "urls": app.urls, "pages": app.pages})


def note(text: str) -> None:
    """Prints a remark of inrush beside the program's own output."""
    say(click.style(text, dim=True), err=True)


def confirm(question: str, yes: bool, scripts_too: bool = False) -> None:
    """Asks a person before something is destroyed, unless `yes` was given; ends the command where the answer is no.

    A script, which has no terminal to ask on, has said yes by calling the command. With `scripts_too` that is not
    enough, since others lose something as well: the command then ends without a terminal, and says that `-y` is needed.
    """
    if yes or not (scripts_too or sys.stdin.isatty()):
        return
    if not sys.stdin.isatty():
        say(f"{harmless(question)} There is no terminal to ask on: -y says yes", err=True)
    elif click.confirm(harmless(question), err=True):
        return
    say("nothing was changed", err=True)
    raise click.exceptions.Exit(1)


def endpoints(app: App) -> Iterator[str]:
    """Prints each endpoint of a running or deployed app."""
    yield from located(app.urls, app.pages)


def located(urls: Mapping[str, str], pages: Mapping[str, str]) -> Iterator[str]:
    """Where endpoints are: by path, for programs, and by host name, for browsers (where that leads to the server)."""
    for name, url in urls.items():
        yield f"{name} is at {url}"
        if name in pages:
            yield f"{name} is in browsers at {pages[name]}"


def warn(text: str) -> None:
    """Prints a warning, which is no error."""
    say(f"{click.style('warning:', fg='yellow')} {text}", err=True)


def listing(rows: Sequence[dict[str, Any]], machine: bool, columns: Sequence[str]) -> None:
    """Prints objects of one kind, one in each row: for machines completely, for people these columns."""
    if machine:
        as_json(rows)
    elif not rows:
        say("none")
    else:
        titles = [column.removesuffix("_name").replace("_", " ") for column in columns]
        table(titles, [[_named_cell(column, row.get(column)) for column in columns] for row in rows])


def facts(told: dict[str, Any], indent: int = 0) -> None:
    """Prints one object, with a line for each field; nested objects are indented."""
    width = max((len(name) for name in told), default=0)
    for name, value in told.items():
        label = " " * indent + click.style(name.replace("_", " ").ljust(width), bold=True)
        if isinstance(value, dict) and value:
            say(label.rstrip())
            facts(value, indent + 2)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            say(label.rstrip())
            for item in value:
                say(" " * (indent + 2) + "  ".join(_cell(v) for v in item.values() if v not in (None, "", [])))
        else:
            say(f"{label}  {_named_cell(name, value)}")


def timestamp(moment_s: float) -> str:
    """A moment (seconds since the epoch) as log lines have it: local time with its zone, to the millisecond."""
    return datetime.datetime.fromtimestamp(moment_s).astimezone().isoformat(sep=" ", timespec="milliseconds")


def log_line(line: dict[str, Any], machine: bool, timestamps: bool = False) -> None:
    """Prints a line of a container behind the container's id. What it wrote to stderr is dimmed."""
    if machine:
        say(json.dumps(line))
        return
    before = f"{timestamp(line['time'])} " if timestamps else ""
    before += f"{click.style(line['container'], fg='cyan')} " if line["container"] else ""
    for text in visible_lines(line["text"]):
        say(before + click.style(text, dim=line["stream"] != "stdout"))


def _named_cell(name: str, value: Any) -> str:
    """Times are told as people read them."""
    if name in ("created", "started", "updated", "time", "expires", "ended") and isinstance(value, (int, float)):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value)) if value else ""
    return _cell(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value)
    if isinstance(value, dict):
        return " ".join(f"{name}={_cell(item)}" for name, item in value.items())
    return str(value)
