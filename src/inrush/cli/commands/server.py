"""`inrush server`: runs server and agent in the foreground; `status`, `stop` and `logs` ask after the one that runs."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import click

from inrush import settings
from inrush.cli import api, flags
from inrush.cli.groups import Group
from inrush.cli.screen import screen
from inrush.errors import ConnectionError, TimeoutError

_STOP_LIMIT_S = 90.0
"""Exit hooks of containers have 30 s; twice that and a reserve."""


@click.group(cls=Group, invoke_without_command=True)
@click.option(
    "--background", is_flag=True, hidden=True, help="Run as clients start it: end after idle_exit_s without work."
)
@flags.all_settings
@click.pass_context
def command(ctx: click.Context, /, background: bool, **given: Any) -> None:
    """Run the server with this machine as its node, until Ctrl-C.

    Subcommands ask for the status of a running server, stop it, or read its log.
    """
    values = flags.apply(given)
    if ctx.invoked_subcommand is None:
        from inrush.cli.compose import serve

        ctx.exit(serve(values, background=background))


@command.command()
@flags.as_json
def status(as_json: bool) -> None:
    """Show where the server listens and what it runs."""
    told = api.get("/status")
    if as_json:
        screen.as_json(told)
        return
    screen.facts(told)


@command.command()
@click.option("--yes", "-y", is_flag=True, help="Stop it without asking, even where apps run.")
@flags.as_json
def stop(yes: bool, as_json: bool) -> None:
    """Stop the server. Where apps run, this asks before; a script needs -y.

    Its containers may finish within their grace. Deployed apps are there again when it starts.
    """
    local = api.local_server()
    try:
        _ask_if_used(yes)
        api.post("/shutdown")
    except ConnectionError as error:
        screen.acted("nothing", f"nothing to stop: {error}", as_json, why=str(error))
        return
    if local is not None and not settings.load()["server_url"].value:
        _wait_for_end(local["pid"])
    screen.acted("stopped", "stopped", as_json)


@command.command()
@click.option("--follow", "-f", is_flag=True, help="Follow new lines.")
@click.option("--lines", "-n", default=100, show_default=True, help="How many of the last lines to begin with.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object in each line.")
def logs(follow: bool, lines: int, as_json: bool) -> None:
    """Show the local server's own log."""
    try:
        found = settings.open_in_home("server.log", os.O_RDONLY)
    except FileNotFoundError:
        path = settings.home() / "server.log"
        raise click.UsageError(f"there is no {path}: no local server has run in the background") from None
    with open(found, errors="replace") as file:
        for line in deque(file, maxlen=lines):
            _show(line, as_json)
        while follow:
            line = file.readline()
            _show(line, as_json) if line else time.sleep(0.2)


def _show(line: str, as_json: bool) -> None:
    screen.say(json.dumps({"text": line.rstrip("\n")}) if as_json else line.rstrip("\n"))


@command.command()
@flags.as_json
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def journal(file: Path, as_json: bool) -> None:
    """Save what the scheduler was last told.

    `inrush sim replay FILE` steps it again. The file holds names, policies and environments of functions, but no
    payloads and no secrets.
    """
    saved = base64.b64decode(api.get("/journal")["file"])
    file.write_bytes(saved)
    screen.acted("saved", f"{len(saved)} bytes in {file}", as_json, file=str(file), bytes=len(saved))


@command.command()
def unit() -> None:
    """Print a unit for systemd.

    It runs a server with this Python and this home. For root it is one of the system
    (/etc/systemd/system/inrush.service), for others one of theirs (~/.config/systemd/user/inrush.service). Settings
    belong into the home's config.toml.
    """
    from inrush.cli import unit

    program = [sys.executable, "-m", "inrush", "server"]
    screen.say(unit.unit(program, settings.home(), of_system=os.geteuid() == 0), nl=False)


def _ask_if_used(yes: bool) -> None:
    """Asks before apps are interrupted, which may be somebody else's."""
    told = api.get("/status")
    if told["apps"]:
        use = f"apps {told['apps']}, clients {told['clients']}, calls {told['calls']}"
        screen.confirm(f"The server at {told['url']} is in use: {use}. Stop it?", yes, scripts_too=True)


def _wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + _STOP_LIMIT_S
    while Path(f"/proc/{pid}").exists() and not _is_zombie(pid):
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"the server (process {pid}) still runs after {_STOP_LIMIT_S:.0f} s; see `inrush server logs`"
            )
        time.sleep(0.05)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return not os.path.exists(f"/proc/{pid}")
