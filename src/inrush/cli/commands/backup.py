"""`inrush backup`: what cannot be made again of a server, in one file, made while the server runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import click

from inrush import settings
from inrush.cli import as_server, flags
from inrush.cli.screen import screen
from inrush.version import __version__


@click.command()
@flags.as_json
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def command(file: Path, as_json: bool) -> None:
    """Back up the server's state to FILE, a tar file that only you can read.

    It has apps, secrets with their key, Dicts, spawned calls with their results, the large payloads and sources of all
    these, the token, the audit log, and config.toml. The server may run meanwhile. Run it on the server's machine, with
    the server's settings. Who has the file has the secrets: keep it as one.
    """
    from inrush.server import backup
    from inrush.server.port.names import LOOPBACK

    values = settings.load()
    home, url, server = settings.home(), str(values["database_url"].value), str(values["server_url"].value)
    if server and urlsplit(server).hostname not in LOOPBACK:
        raise click.UsageError(
            f"server_url names {server}: run `inrush backup` on that machine, or unset it to back up {home} of this one"
        )
    backup.check_used(home)
    config = home / "config.toml"
    with _new(file) as target:
        work = partial(backup.write, home, url, config.read_bytes() if config.exists() else None, __version__, target)
        about = as_server.run(home, as_server.user_of(home), work, backup.About)
    size = file.stat().st_size
    text = f"backed up {home} to {file}: {size >> 10} KiB, {about.blobs} blobs"
    screen.acted("backed up", text, as_json, home=str(home), file=str(file), bytes=size, blobs=about.blobs)


@contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """A new file at `path`, which is there when it is complete."""
    if path.exists():
        raise click.UsageError(f"{path} exists; name a new file")
    part = path.with_name(f"{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        file = os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise click.UsageError(f"{part} cannot be written: {error.strerror}") from None
    try:
        with file:
            yield file
            os.fsync(file.fileno())
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
