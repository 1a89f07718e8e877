"""`inrush deploy`: an app that stays."""

from __future__ import annotations

import time
from typing import Any

import click

from inrush.cli import flags


@click.command()
@click.option("-m", "--module", is_flag=True, help="TARGET is a module: package.module.")
@click.option("--name", help="Deploy under this name instead of the app's own.")
@flags.strategy
@click.option("--tag", default="", metavar="TEXT", help="Your name for this version, which `inrush app history` shows.")
@click.option("--stream-logs", is_flag=True, help="Follow what the app's containers print, until it is stopped.")
@click.option("--timestamps", is_flag=True, help="With --stream-logs: show when each line was printed.")
@flags.as_json
@flags.client_settings
@click.argument("target", metavar="FILE")
def command(
    module: bool,
    name: str | None,
    strategy: str,
    tag: str,
    stream_logs: bool,
    timestamps: bool,
    as_json: bool,
    target: str,
    **given: Any,
) -> None:
    """Deploy the app of FILE: its functions can be called by name and its endpoints by URL, until it is stopped.

    Deploying again replaces the app as a whole, once a container of each function that changed is ready; if one does
    not start, the old version serves on, and the command fails. A function whose code and resources are unchanged
    keeps its containers.
    """
    from inrush.cli import api
    from inrush.cli.programs import programs
    from inrush.cli.screen import logs, output, screen

    flags.for_a_program(given)
    app, _ = programs.load(target, module).app()
    began = time.time()
    with output.shown():
        app.deploy(name=name, strategy=strategy, tag=tag)
    if as_json:
        screen.acted_on("deployed", app, name or app.name or "")
    else:
        for line in screen.endpoints(app):
            screen.say(line)
        screen.say(f"deployed {name or app.name}")
    if stream_logs:
        path = f"/apps/{api.name(app.app_id or '')}/logs"
        logs.show(path, follow=True, lines=None, as_json=as_json, timestamps=timestamps, since=began)
