"""`inrush environment`: trust domains of user code. Nothing crosses from one to another."""

from __future__ import annotations

import click

from inrush.cli import api, completing, flags
from inrush.cli.groups import Group
from inrush.cli.screen import screen


@click.group(cls=Group)
def command() -> None:
    """List, create and delete environments."""
    api.start_if_none()


@command.command("list")
@flags.as_json
def list_(as_json: bool) -> None:
    """Environments, with how many apps each has."""
    screen.listing(api.get("/environments"), as_json, ("name", "apps", "created"))


@command.command()
@flags.as_json
@click.argument("name")
def create(name: str, as_json: bool) -> None:
    """Create an environment.

    NAME has up to 32 lower-case letters, digits and single dashes.
    """
    api.post("/environments", {"name": name})
    screen.acted("created", f"created {name}", as_json, environment=name)


@command.command()
@click.argument("name", shell_complete=completing.environments)
@click.option("--yes", "-y", is_flag=True, help="Delete without asking, even where apps run.")
@flags.as_json
def delete(name: str, yes: bool, as_json: bool) -> None:
    """Delete an environment with all in it. This asks before; a script needs -y.

    Its apps are stopped; Dicts, secrets, tokens, calls and their results go.
    """
    question = f"delete {name}, and all its apps, Dicts, secrets, tokens and results?"
    screen.confirm(question, yes, scripts_too=True)
    api.delete(f"/environments/{api.name(name)}", force=1)
    screen.acted("deleted", f"deleted {name}", as_json, environment=name)
