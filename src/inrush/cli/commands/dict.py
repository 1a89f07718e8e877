"""`inrush dict`: named maps on the server. What they hold is shown as JSON, or by type and size, and never executed."""

from __future__ import annotations

import base64
import io
import pickle
from typing import Any

import click

from inrush.cli import api, completing, flags
from inrush.cli.groups import Group
from inrush.cli.screen import screen
from inrush.client.dict import Dict

_ALL = 999
"""The server shows one more, which says that there are more."""


@click.group(cls=Group)
def command() -> None:
    """List and create dicts, look into them, clear and delete them."""
    api.start_if_none()


@command.command("list")
@flags.environment
@flags.as_json
def list_(as_json: bool) -> None:
    """List dicts with a name."""
    screen.listing(api.get("/dicts"), as_json, ("name", "items", "created"))


@command.command()
@flags.environment
@flags.as_json
@click.argument("name", shell_complete=completing.dicts)
@click.argument("key")
def get(name: str, key: str, as_json: bool) -> None:
    """What a dict holds for KEY.

    It is shown as JSON, or by its type and size where it is no plain data; nothing is unpickled.
    """
    (item,) = api.get(f"/dicts/{api.name(name)}/items", key=base64.urlsafe_b64encode(_pickled(key)).decode())
    screen.as_json(item) if as_json else screen.say(_text(item["value"]))


@command.command()
@flags.environment
@click.argument("name", shell_complete=completing.dicts)
@click.argument("number", required=False, type=click.IntRange(min=1), metavar="[N]")
@click.option("--lines", "-n", default=20, show_default=True, help="Show at most so many; so does N.")
@click.option("--all", "-a", "every", is_flag=True, help="Show all.")
@flags.as_json
def items(name: str, number: int | None, lines: int, every: bool, as_json: bool) -> None:
    """Keys and values.

    They are shown as JSON, or by their type and size where they are no plain data; nothing is unpickled.
    """
    lines = _ALL if every else min(number or lines, _ALL)
    found = api.get(f"/dicts/{api.name(name)}/items", limit=lines + 1)
    if as_json:
        screen.as_json(found[:lines])
        return
    for item in found[:lines]:
        screen.say(f"{_text(item['key'])}: {_text(item['value'])}")
    if len(found) > lines:
        screen.say("… and more" if lines >= _ALL else f"… and more; --all shows up to {_ALL}")


@command.command()
@flags.environment
@flags.as_json
@click.argument("name")
def create(name: str, as_json: bool) -> None:
    """Create an empty dict; one that is there already is left as it is."""
    Dict.from_name(name, create_if_missing=True).hydrate()
    screen.acted("created", f"{name} is there", as_json, dict=name)


@command.command()
@flags.environment
@flags.yes
@flags.as_json
@click.argument("name", shell_complete=completing.dicts)
def clear(name: str, yes: bool, as_json: bool) -> None:
    """Delete all that a dict holds; the dict itself stays."""
    screen.confirm(f"delete all that the dict {name} holds?", yes)
    Dict.from_name(name).clear()
    screen.acted("cleared", f"cleared {name}", as_json, dict=name)


@command.command()
@flags.environment
@flags.yes
@flags.allow_missing
@flags.as_json
@click.argument("name", shell_complete=completing.dicts)
def delete(name: str, yes: bool, allow_missing: bool, as_json: bool) -> None:
    """Delete a dict with all that it holds."""
    screen.confirm(f"delete the dict {name}, with all that it holds?", yes)
    if flags.gone(allow_missing, lambda: api.delete(f"/dicts/{api.name(name)}")):
        screen.acted("deleted", f"deleted {name}", as_json, dict=name)
    else:
        screen.acted("nothing", f"there is no dict {name}", as_json, dict=name)


def _text(shown: dict[str, Any]) -> str:
    return str(shown["text"]) or f"<{shown['type']}, {shown['bytes']} bytes>"


def _pickled(key: str) -> bytes:
    """As `inrush.Dict` writes a key."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 5)
    pickler.fast = True
    pickler.dump(key)
    return buffer.getvalue()
