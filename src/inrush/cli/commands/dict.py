"""`inrush dict`: durable maps that functions share. Keys on the command line are strings."""

from __future__ import annotations

import click

from inrush import Dict
from inrush.cli import api
from inrush.cli.screen import screen
from inrush.errors import NotFoundError


@click.group()
def command() -> None:
    """List dicts, look into them, delete them."""
    api.start_if_none()


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for machines.")
def list_(as_json: bool) -> None:
    """Dicts with a name."""
    screen.listing(api.get("/dicts"), as_json, ("name", "items", "created"))


@command.command()
@click.argument("name")
@click.argument("key")
def get(name: str, key: str) -> None:
    """What a dict holds for KEY, as Python writes it."""
    nothing = object()
    value = Dict.from_name(name).get(key, nothing)
    if value is nothing:
        raise NotFoundError(f"dict {name!r} has no key {key!r}; `inrush dict items {name}` shows what it has")
    click.echo(repr(value))


@command.command()
@click.argument("name")
@click.option("--lines", "-n", default=20, show_default=True, help="At most so many.")
def items(name: str, lines: int) -> None:
    """Keys and values, as Python writes them."""
    for number, (key, value) in enumerate(Dict.from_name(name).items()):
        if number == lines:
            click.echo(f"… and more; --lines {lines * 10} shows them")
            return
        click.echo(f"{key!r}: {value!r}")


@command.command()
@click.argument("name")
def delete(name: str) -> None:
    """Delete a dict with all that it holds."""
    Dict.from_name(name).delete()
    click.echo(f"deleted {name}")
