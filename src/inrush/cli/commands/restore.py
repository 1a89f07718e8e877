"""`inrush restore`: a backup becomes the state of a home that has none."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import BinaryIO

import click

from inrush import settings
from inrush.cli import as_server, compose, flags
from inrush.cli.screen import screen
from inrush.version import __version__


@click.command()
@flags.as_json
@click.argument("file", type=click.File("rb"))
def command(file: BinaryIO, as_json: bool) -> None:
    """Restore the backup in FILE into the home of this machine's server, which must have no state.

    Apps, calls, secrets and Dicts are there when the server starts. Images are built again when they are needed. A
    config.toml that the home has already stays, and so does the database that it names.
    """
    from inrush.server import backup

    home, here = settings.home(), settings.load()["database_url"]
    url = None if here.source == "default" else str(here.value)
    backup.check_empty(home)
    uid = compose.settle(home)
    with compose.locked(home):
        work = partial(backup.restore, home, url, __version__, file)
        about, config = as_server.run(home, uid, work, tuple[backup.About, bytes | None])
        kept = _put_config(config)
        os.sync()
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(about.made))
    text = f"restored to {home} what inrush {about.version} backed up at {made}, with {about.blobs} blobs"
    screen.acted("restored", text, as_json, home=str(home), **about._asdict())
    if kept:
        screen.note(f"{home / 'config.toml'} was there already, and stays as it was")


def _put_config(config: bytes | None) -> bool:
    """Puts a `config.toml` in place. Returns whether another one is there already, which stays."""
    if config is None:
        return False
    path = settings.home() / "config.toml"
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            target.write(config)
    except FileExistsError:
        return path.read_bytes() != config
    return False
