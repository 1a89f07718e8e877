"""`inrush audit`: who did what."""

from __future__ import annotations

import click

from inrush.cli import api
from inrush.cli.screen import screen


@click.command()
@click.option("--lines", "-n", default=50, show_default=True, help="The number of latest entries to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def command(lines: int, as_json: bool) -> None:
    """Show who did what: deploys, stops, secrets, tokens, commands in containers."""
    api.start_if_none()
    screen.listing(api.get("/audit", limit=lines), as_json, ("time", "who", "what", "environment", "about"))
