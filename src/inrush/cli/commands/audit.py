"""`inrush audit`: who did what."""

from __future__ import annotations

import click

from inrush.cli import api
from inrush.cli.screen import screen


@click.command()
@click.option("--lines", "-n", default=50, show_default=True, help="How many of the last acts.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for machines.")
def command(lines: int, as_json: bool) -> None:
    """Deploys, stops, and changes of secrets, tokens and environments; who ran commands in which containers."""
    api.start_if_none()
    screen.listing(api.get("/audit", limit=lines), as_json, ("time", "who", "what", "environment", "about"))
