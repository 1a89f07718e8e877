"""`inrush serve`: an ephemeral app that follows the program's files."""

from __future__ import annotations

import time
from typing import Any

import click

from inrush.cli import flags


@click.command()
@click.option("-m", "--module", is_flag=True, help="TARGET is a module: package.module.")
@click.option("--name", "-n", metavar="TEXT", help="Run the app under this name instead of its own.")
@click.option("--timestamps", is_flag=True, help="Show when containers printed each line.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="End after so many seconds.")
@flags.as_json
@flags.client_settings
@click.argument("target", metavar="FILE")
def command(
    module: bool,
    target: str,
    name: str | None,
    timestamps: bool,
    timeout: float | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Serve the endpoints of FILE while you edit it.

    A change is loaded at once. A change that cannot be loaded is shown, and the version before it serves on.
    """
    from inrush.cli.programs import changes, programs
    from inrush.cli.screen import output, screen

    flags.for_a_program(given)
    program = programs.load(target, module)
    deadline = None if timeout is None else time.monotonic() + timeout
    while program is not None:
        files = changes.times_of(changes.files_of(program.module))
        app, _ = program.app()
        with output.shown(timestamps=timestamps), app.run(name=name):
            if as_json:
                screen.acted_on("serving", app, name or app.name or "")
            else:
                for line in screen.endpoints(app):
                    screen.say(line)
            screen.note("serving; Ctrl-C ends it")
            program, files = _next(target, module, files, deadline)


def _next(target: str, module: bool, files: Any, deadline: float | None) -> Any:
    """The program after the next change that can be loaded; the old one serves on until then. None after the deadline
    (on the monotonic clock)."""
    from inrush.cli.programs import changes, programs
    from inrush.cli.screen import failures, screen

    while True:
        changed = changes.wait(files, deadline)
        if not changed:
            return None, files
        screen.note(f"changed: {', '.join(file.name for file in changed)}")
        files = changes.times_of(list(files))
        changes.forget(list(files))
        try:
            return programs.load(target, module), files
        except failures.ProgramError as error:
            failures.report(error.__cause__ or error)
