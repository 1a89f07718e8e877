"""`inrush secret`: environment variables that functions may ask for by name. Values are never shown again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from inrush.cli import api, flags
from inrush.cli.screen import screen
from inrush.client.secret import parse_dotenv


@click.group()
def command() -> None:
    """Create, list and delete secrets."""
    api.start_if_none()


@command.command()
@flags.environment
@click.argument("name")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--from-dotenv", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Read KEY=VALUE lines."
)
@click.option("--force", is_flag=True, help="Replace a secret of that name.")
def create(name: str, pairs: tuple[str, ...], from_dotenv: Path | None, force: bool) -> None:
    """Create a secret.

    A VALUE of "-" is read from standard input, so that it is in no shell history.
    """
    values = parse_dotenv(from_dotenv.read_text(), str(from_dotenv)) if from_dotenv else {}
    values |= dict(_pair(pair) for pair in pairs)
    if not values:
        raise click.UsageError("a secret needs at least one KEY=VALUE")
    api.post("/secrets", {"name": name, "values": values, "overwrite": force})
    screen.say(f"created {name} with {', '.join(values)}")


@command.command("list")
@flags.environment
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def list_(as_json: bool) -> None:
    """List secrets and the names of their keys."""
    screen.listing(api.get("/secrets"), as_json, ("name", "keys", "created", "updated"))


@command.command()
@flags.environment
@click.argument("name")
def delete(name: str) -> None:
    """Delete a secret; containers that run keep what they got."""
    api.delete(f"/secrets/{api.name(name)}")
    screen.say(f"deleted {name}")


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.UsageError(f"{text!r} is not KEY=VALUE")
    return key, sys.stdin.read().rstrip("\n") if value == "-" else value
