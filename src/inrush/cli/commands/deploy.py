"""`inrush deploy`: an app that stays."""

from __future__ import annotations

from typing import Any

import click

from inrush.cli import flags


@click.command()
@click.option("-m", "--module", is_flag=True, help="TARGET is a module: package.module.")
@click.option("--name", help="Deploy under this name instead of the app's own.")
@click.option(
    "--strategy",
    type=click.Choice(["rolling", "recreate"]),
    default="rolling",
    show_default=True,
    help="rolling: old containers finish what they run; recreate: they are stopped, and it runs again.",
)
@flags.all_settings
@click.argument("target", metavar="FILE")
def command(module: bool, name: str | None, strategy: str, target: str, **given: Any) -> None:
    """Deploy the app of FILE: its functions can be called by name and its endpoints by URL, until it is stopped.

    Deploying again replaces the app as a whole, once a container of each function that changed is ready; if one does
    not start, the old version serves on, and the command fails. A function whose code and resources are unchanged
    keeps its containers.
    """
    from inrush.cli.programs import programs
    from inrush.cli.screen import output, screen

    flags.for_a_program(given)
    app, _ = programs.load(target, module).app()
    with output.shown():
        app.deploy(name=name, strategy=strategy)
    for line in screen.endpoints(app):
        screen.say(line)
    screen.say(f"deployed {name or app.name}")
