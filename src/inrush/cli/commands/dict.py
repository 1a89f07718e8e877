"""`inrush dict`: named maps on the server. What they hold is shown as JSON, or by type and size, and never executed."""

from __future__ import annotations

import base64
import io
import pickle
from typing import Any

import click

from inrush.cli import api, flags
from inrush.cli.screen import screen


@click.group()
def command() -> None:
    """List dicts, look into them, delete them."""
    api.start_if_none()


@command.command("list")
@flags.environment
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def list_(as_json: bool) -> None:
    """List dicts with a name."""
    screen.listing(api.get("/dicts"), as_json, ("name", "items", "created"))


@command.command()
@flags.environment
@click.argument("name")
@click.argument("key")
def get(name: str, key: str) -> None:
    """What a dict holds for KEY.

    It is shown as JSON, or by its type and size where it is no plain data; nothing is unpickled.
    """
    (item,) = api.get(f"/dicts/{api.name(name)}/items", key=base64.urlsafe_b64encode(_pickled(key)).decode())
    screen.say(_text(item["value"]))


@command.command()
@flags.environment
@click.argument("name")
@click.option("--lines", "-n", default=20, show_default=True, help="Show at most so many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def items(name: str, lines: int, as_json: bool) -> None:
    """Keys and values.

    They are shown as JSON, or by their type and size where they are no plain data; nothing is unpickled.
    """
    found = api.get(f"/dicts/{api.name(name)}/items", limit=lines + 1)
    if as_json:
        screen.as_json(found[:lines])
        return
    for item in found[:lines]:
        screen.say(f"{_text(item['key'])}: {_text(item['value'])}")
    if len(found) > lines:
        screen.say(f"… and more; --lines {lines * 10} shows them")


@command.command()
@flags.environment
@click.argument("name")
def delete(name: str) -> None:
    """Delete a dict with all that it holds."""
    api.delete(f"/dicts/{api.name(name)}")
    screen.say(f"deleted {name}")


def _text(shown: dict[str, Any]) -> str:
    return str(shown["text"]) or f"<{shown['type']}, {shown['bytes']} bytes>"


def _pickled(key: str) -> bytes:
    """As `inrush.Dict` writes a key."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 5)
    pickler.fast = True
    pickler.dump(key)
    return buffer.getvalue()
