"""`inrush config`: every setting, its value, and where it came from."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import click

from inrush import settings
from inrush.cli import completing, flags
from inrush.cli.groups import Group
from inrush.cli.screen import screen


@click.group(cls=Group, invoke_without_command=True)
@flags.as_json
@flags.all_settings
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, **given: Any) -> None:
    """Show all settings, with where each came from.

    A value is the default, or comes from config.toml, an environment variable or a flag.
    """
    values = flags.apply(given)
    if ctx.invoked_subcommand is None:
        _show(values, as_json)


@command.command()
@flags.as_json
def show(as_json: bool) -> None:
    """Show all settings; the same as without a subcommand."""
    _show(settings.load(), as_json)


@command.command("set-environment")
@flags.as_json
@click.argument("name", shell_complete=completing.environments)
def set_environment(name: str, as_json: bool) -> None:
    """Use this environment from now on where none is named.

    It is written into config.toml.
    """
    home = settings.home()
    line = f'environment = "{name}"'
    if not re.fullmatch(r"[a-z0-9-]{1,32}", name):
        raise click.UsageError(f"{name!r} is not the name of an environment: lower-case letters, digits and dashes")
    settings.load()  # a file that cannot be read is not written either
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(settings.open_in_home("config.toml", os.O_RDWR | os.O_CREAT), "r+") as file:
        kept = [other for other in file.read().splitlines() if not re.match(r"\s*environment\s*=", other)]
        file.seek(0)
        file.write("\n".join([line, *kept]) + "\n")
        file.truncate()
    path = home / "config.toml"
    screen.acted("set", f"{line} in {path}", as_json, environment=name, file=str(path))


def _show(values: dict[str, settings.Value], as_json: bool) -> None:
    rows = [_row(setting, values[setting.name]) for setting in settings.SETTINGS]
    if as_json:
        screen.say(json.dumps({"home": str(settings.home()), "settings": rows}, indent=2))
        return
    screen.table(("setting", "value", "from", "meaning"), [tuple(row.values()) for row in rows])
    screen.say(f"home: {settings.home()}")


def _row(setting: settings.Setting, value: settings.Value) -> dict[str, Any]:
    shown = "***" if setting.secret and value.value else value.value
    return {"setting": setting.name, "value": shown, "from": value.source, "meaning": setting.meaning}
