"""`inrush pool`: where nodes come from."""

from __future__ import annotations

import click

from inrush.cli import api, flags
from inrush.cli.groups import Group
from inrush.cli.screen import screen


@click.group(cls=Group)
def command() -> None:
    """List pools of nodes: what is there, what is on its way, and what is out of stock."""


@command.command("list")
@flags.as_json
def list_(as_json: bool) -> None:
    """List the server's pools.

    For each it says what a node costs, how many there are and are on their way, and why no more can be had now.
    """
    rows = api.get("/pools")
    if not rows and not as_json:
        screen.say("none: the setting pools names a file of them")
        return
    what = ("name", "kind", "cloud", "region", "gpu_type", "gpus", "price")
    screen.listing(rows, as_json, (*what, "nodes", "coming", "nodes_max", "blocked"))
