"""`inrush shell`: a look around where a function would run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from inrush.cli import flags


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@flags.all_settings
@click.argument("target", metavar="FILE::FUNCTION")
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
@click.pass_context
def command(ctx: click.Context, /, target: str, argv: tuple[str, ...], **given: Any) -> None:
    """Open a shell, or run COMMAND, in a fresh container of a function or class, with its image, files, environment and
    limits.

    TARGET is FILE::FUNCTION, or APP::FUNCTION for a deployed app.
    """
    from inrush.cli.programs import programs
    from inrush.cli.screen import output, terminal

    flags.for_a_program(given)
    path, _, name = target.partition("::")
    if not Path(path).is_file():
        if not name:
            raise click.UsageError(f"{target!r} is neither FILE::FUNCTION nor APP::FUNCTION")
        ctx.exit(terminal.attach("/shell", argv, app=path, name=name))
    app, wanted = programs.load(target).app()
    names = [*app.registered_functions, *app.registered_classes]
    if not wanted and len(names) == 1:
        wanted = names[0]
    if wanted.partition(".")[0] not in names:
        raise click.UsageError("name one function: " + ", ".join(f"{path}::{name}" for name in names))
    with output.shown(), app.run():
        status = terminal.attach("/shell", argv, app=app.app_id or "", name=wanted.partition(".")[0])
    ctx.exit(status)
