"""`inrush audit`: who did what."""

from __future__ import annotations

import click

from inrush.cli import api, flags
from inrush.cli.screen import screen


@click.command()
@click.option("--lines", "-n", default=50, show_default=True, help="The number of latest entries to show.")
@click.option("--refused", is_flag=True, help="Show who was refused what, and how often.")
@flags.as_json
def command(lines: int, refused: bool, as_json: bool) -> None:
    """Show who did what: deploys, stops, secrets, tokens, commands in containers."""
    api.start_if_none()
    acts = api.get("/audit", limit=lines, refused=1 if refused else None)
    columns = ("time", "who", "what", "environment", "about", *(("times",) if refused else ()))
    screen.listing(acts, as_json, columns)
