"""`inrush app`: what runs and what is deployed."""

from __future__ import annotations

from typing import Any

import click

from inrush.cli import api, flags
from inrush.cli.screen import logs, screen


@click.group()
def command() -> None:
    """List apps, follow their logs, stop them."""


@command.command("list")
@flags.environment
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def list_(as_json: bool) -> None:
    """List apps that run or are deployed."""
    apps = api.get("/apps")
    screen.listing(apps, as_json, ("name", "id", "state", "version", "functions", "containers", "created"))
    if not as_json:
        for app in apps:
            for line in screen.located(app["urls"], app["pages"]):
                screen.say(f"{app['name']}: {line}")


@command.command("logs")
@flags.environment
@click.argument("app")
@logs.options
def show_logs(app: str, **how: Any) -> None:
    """What an app's containers print. APP is its name or id."""
    logs.show(f"/apps/{api.name(app)}/logs", **how)


@command.command()
@flags.environment
@click.argument("app")
def stop(app: str) -> None:
    """Stop an app. Its calls are cancelled, its containers get their grace, its endpoints go."""
    api.post(f"/apps/{api.name(app)}/stop")
    screen.say(f"stopped {app}")
