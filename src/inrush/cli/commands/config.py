"""`inrush config`: every setting, its value, and where it came from."""

from __future__ import annotations

import json
from typing import Any

import click

from inrush import settings
from inrush.cli import flags


@click.command()
@flags.as_json
@flags.all_settings
def command(as_json: bool, **given: Any) -> None:
    """Show all settings, with where each came from.

    A value is the default, or comes from config.toml, an environment variable or a flag.
    """
    values = flags.apply(given)
    rows = [_row(setting, values[setting.name]) for setting in settings.SETTINGS]
    from inrush.cli.screen import screen

    if as_json:
        screen.say(json.dumps({"home": str(settings.home()), "settings": rows}, indent=2))
        return
    screen.table(("setting", "value", "from", "meaning"), [tuple(row.values()) for row in rows])
    screen.say(f"home: {settings.home()}")


def _row(setting: settings.Setting, value: settings.Value) -> dict[str, Any]:
    shown = "***" if setting.secret and value.value else value.value
    return {"setting": setting.name, "value": shown, "from": value.source, "meaning": setting.meaning}
