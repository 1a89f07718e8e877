"""`inrush function`: one function of an app, what it asks for, how it scales, what it prints."""

from __future__ import annotations

from typing import Any

import click

from inrush.cli import api, completing, flags
from inrush.cli.groups import Group
from inrush.cli.screen import logs, screen

_COUNTS = ("backlog", "containers", "running_inputs", "input_headroom")
_SCALE = ("min_containers", "max_containers", "buffer_containers", "scaledown_window_s")


class Named(click.ParamType[tuple[str, str]]):
    """A function as APP::FUNCTION, or as APP/FUNCTION, which is how Modal has it."""

    name = "app::function"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Reads what was given; a usage error says how it is written."""
        text = str(value)
        app, _, name = text.partition("::") if "::" in text else text.partition("/")
        if not app or not name:
            self.fail(f"{text!r} is not APP::FUNCTION; `inrush app list` shows apps and their functions", param, ctx)
        return app, name


_named = click.argument("function", type=Named(), metavar="APP::FUNCTION", shell_complete=completing.functions)


@click.group(cls=Group)
def command() -> None:
    """Show what a function asks for and does, follow its logs, change how it scales."""


@command.command()
@flags.environment
@flags.as_json
@_named
def info(function: tuple[str, str], as_json: bool) -> None:
    """Show what a function asks for and does now."""
    _show(_of(function), as_json)


@command.command()
@flags.environment
@flags.as_json
@_named
def stats(function: tuple[str, str], as_json: bool) -> None:
    """Count the inputs that wait and run now, and the containers."""
    _show(_of(function, *_COUNTS), as_json)


@command.command("logs")
@flags.environment
@_named
@logs.options
@click.option("--container", metavar="ID", shell_complete=completing.containers, help="Only lines of this container.")
def show_logs(function: tuple[str, str], **how: Any) -> None:
    """What a function's containers print."""
    app, name = function
    logs.show(f"/apps/{api.name(app)}/logs", function=name, **how)


@command.group(cls=Group)
def autoscaler() -> None:
    """Show and change how a function scales."""


@autoscaler.command("settings")
@flags.environment
@flags.as_json
@_named
def show_settings(function: tuple[str, str], as_json: bool) -> None:
    """Show how a function scales now."""
    _show(_of(function, *_SCALE), as_json)


@autoscaler.command()
@flags.environment
@click.option("--min-containers", type=click.IntRange(min=0), help="Keep at least so many.")
@click.option("--max-containers", type=click.IntRange(min=1), help="Have no more than so many.")
@click.option("--buffer-containers", type=click.IntRange(min=0), help="While it is used, keep so many beside.")
@click.option("--scaledown-window", type=click.FloatRange(min=0), help="Keep an idle one for so many seconds at most.")
@flags.as_json
@_named
def update(
    function: tuple[str, str],
    min_containers: int | None,
    max_containers: int | None,
    buffer_containers: int | None,
    scaledown_window: float | None,
    as_json: bool,
) -> None:
    """Change how a function scales, at once and until the next deploy. What is not given stays as it is."""
    values = (min_containers, max_containers, buffer_containers, scaledown_window)
    given = {name: value for name, value in zip(_SCALE, values, strict=True) if value is not None}
    if not given:
        raise click.UsageError("nothing was given to change; `inrush function autoscaler settings` shows how it is")
    api.post(f"{_path(function)}/scale", given)
    said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in given.items())
    screen.acted("updated", f"{'::'.join(function)}: {said}", as_json, app=function[0], function=function[1], **given)


def _path(function: tuple[str, str]) -> str:
    app, name = function
    return f"/functions/{api.name(app)}/{api.name(name)}"


def _of(function: tuple[str, str], *fields: str) -> dict[str, Any]:
    told: dict[str, Any] = api.get(_path(function))
    return {field: told[field] for field in fields} or told


def _show(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        screen.as_json(told)
    else:
        screen.facts({name: value for name, value in told.items() if value not in ("", None, [])})
