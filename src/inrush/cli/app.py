"""`inrush app`: what runs and what is deployed."""

from __future__ import annotations

import click

from inrush.cli import api, screen


@click.group()
def command() -> None:
    """List apps, follow their logs, stop them."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for machines.")
def list_(as_json: bool) -> None:
    """Apps that run or are deployed."""
    columns = ("name", "id", "state", "version", "functions", "containers", "created", "urls")
    screen.listing(api.get("/apps"), as_json, columns)


@command.command()
@click.argument("app")
@click.option("--follow", "-f", is_flag=True, help="Go on as lines come.")
@click.option("--lines", "-n", default=100, show_default=True, help="How many of the last lines to begin with.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def logs(app: str, follow: bool, lines: int, as_json: bool) -> None:
    """What an app's containers print. APP is its name or id."""
    for line in api.lines(f"/apps/{app}/logs", backlog=lines, follow=int(follow)):
        screen.log_line(line, as_json)


@command.command()
@click.argument("app")
def stop(app: str) -> None:
    """Stop an app: its calls are cancelled, its containers get their grace, its endpoints go."""
    api.post(f"/apps/{app}/stop")
    click.echo(f"stopped {app}")
