"""`inrush run`: an ephemeral app for as long as one entrypoint or one call takes."""

from __future__ import annotations

import sys
from typing import Any

import click

from inrush.cli import flags
from inrush.cli.screen.failures import ProgramError


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-m", "--module", is_flag=True, help="TARGET is a module: package.module[::NAME].")
@click.option("--detach", "-d", is_flag=True, help="The app goes on when this command ends; `inrush app stop` ends it.")
@flags.all_settings
@click.argument("target", metavar="FILE[::NAME]")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
def command(module: bool, detach: bool, target: str, args: tuple[str, ...], **given: Any) -> None:
    """Run a program: its functions run in containers, for as long as the program does.

    NAME is a local entrypoint, a function, or Class.method; without it the only entrypoint runs, or the only function.
    ARGS are options made from its signature: `inrush run FILE --help` shows them. Options of this command stand before
    FILE.
    """
    from inrush.cli.programs import entries, programs
    from inrush.cli.screen import output, screen

    flags.for_a_program(given)
    sys.argv = [target.partition("::")[0], *args]
    program = programs.load(target, module)
    app, wanted = program.app()
    entry = entries.choose(app, wanted, program.target)
    positional, named = entry.arguments(args, f"-m {target}" if module else target)
    with output.shown(), app.run(detach=detach):
        id = app.app_id
        try:
            result = entry.call(*positional, **named)
        except (Exception, SystemExit) as error:  # Ctrl-C is none of the program's errors: the app ends at once
            raise ProgramError(entry.name) from error
        if entry.remote and result is not None:
            screen.say(result)
    if detach:
        screen.note(f"{app.name} goes on; `inrush app stop {id}` ends it")
