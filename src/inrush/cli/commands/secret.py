"""`inrush secret`: environment variables that functions may ask for by name. Values are never shown again."""

from __future__ import annotations

import json
import os
import sys
from typing import TextIO

import click

from inrush.cli import api, completing, flags
from inrush.cli.groups import Group
from inrush.cli.screen import screen
from inrush.client import _dotenv


@click.group(cls=Group)
def command() -> None:
    """Create, list and delete secrets."""
    api.start_if_none()


@command.command()
@flags.environment
@click.argument("name")
@click.argument("pairs", nargs=-1, metavar="[KEY | KEY=VALUE]...")
@click.option("--from-dotenv", type=click.File(), help="Read KEY=VALUE lines from a file; - is standard input.")
@click.option("--from-json", type=click.File(), help="Read an object of strings from a file; - is standard input.")
@click.option("--force", is_flag=True, help="Replace a secret of that name.")
@flags.as_json
def create(
    name: str,
    pairs: tuple[str, ...],
    from_dotenv: TextIO | None,
    from_json: TextIO | None,
    force: bool,
    as_json: bool,
) -> None:
    """Create a secret.

    A KEY alone takes the value of this variable here, and a VALUE of "-" is read from standard input. Other users of
    this machine see command lines, and shells keep them, so give values in one of those ways or in a file.
    """
    values = _dotenv.parse(from_dotenv.read(), from_dotenv.name, os.environ) if from_dotenv else {}
    values |= _parse_json(from_json.read(), from_json.name) if from_json else {}
    values |= dict(_pair(pair) for pair in pairs)
    if not values:
        raise click.UsageError("a secret needs at least one KEY=VALUE")
    api.post("/secrets", {"name": name, "values": values, "overwrite": force})
    screen.acted("created", f"created {name} with {', '.join(values)}", as_json, secret=name, keys=list(values))


@command.command("list")
@flags.environment
@flags.as_json
def list_(as_json: bool) -> None:
    """List secrets and the names of their keys."""
    screen.listing(api.get("/secrets"), as_json, ("name", "keys", "created", "updated"))


@command.command()
@flags.environment
@flags.yes
@flags.allow_missing
@flags.as_json
@click.argument("name", shell_complete=completing.secrets)
def delete(name: str, yes: bool, allow_missing: bool, as_json: bool) -> None:
    """Delete a secret; containers that run keep what they got."""
    screen.confirm(f"delete the secret {name}?", yes)
    if flags.gone(allow_missing, lambda: api.delete(f"/secrets/{api.name(name)}")):
        screen.acted("deleted", f"deleted {name}", as_json, secret=name)
    else:
        screen.acted("nothing", f"there is no secret {name}", as_json, secret=name)


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key:
        raise click.UsageError(f"{text!r} is not KEY=VALUE")
    if not separator:
        if key not in os.environ:
            raise click.UsageError(f"the variable {key} is not set here; set it, or give KEY=VALUE")
        return key, os.environ[key]
    return key, sys.stdin.read().rstrip("\n") if value == "-" else value


def _parse_json(text: str, where: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{where} is not JSON: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise click.UsageError(f"{where} must be an object whose values are strings")
    return found
