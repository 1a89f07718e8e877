"""`inrush pool`: where nodes come from."""

from __future__ import annotations

import click

from inrush.cli import api
from inrush.cli.screen import screen


@click.group()
def command() -> None:
    """List pools of nodes: what is there, on its way, and not to be had."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for machines.")
def list_(as_json: bool) -> None:
    """Pools of the server: what a node costs, how many there are and come, and why no more can be had now."""
    rows = api.get("/pools")
    if not rows and not as_json:
        click.echo("none: the setting pools names a file of them")
        return
    what = ("name", "kind", "cloud", "region", "gpu_type", "gpus", "price")
    screen.listing(rows, as_json, (*what, "nodes", "coming", "nodes_max", "blocked"))
