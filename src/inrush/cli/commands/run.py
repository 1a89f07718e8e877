"""`inrush run`: an ephemeral app for as long as one entrypoint or one call takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from inrush.cli import flags
from inrush.cli.screen.failures import ProgramError
from inrush.errors import InvalidError

_INTERACTIVE = "Lend this terminal to code in containers: for `inrush.interact()`, `breakpoint()` and `input()`."


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-m", "--module", is_flag=True, help="TARGET is a module: package.module[::NAME].")
@click.option("--detach", "-d", is_flag=True, help="The app goes on when this command ends; `inrush app stop` ends it.")
@click.option("--quiet", "-q", is_flag=True, help="Show what containers print and results, and nothing of inrush.")
@click.option(
    "--write-result",
    "-w",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the result, text or bytes, to this file instead of printing it.",
)
@click.option("--name", "-n", help="Run the app under this name instead of its own.")
@click.option("--interactive", "-i", is_flag=True, help=_INTERACTIVE)
@click.option("--timestamps", is_flag=True, help="Show when containers printed each line.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@flags.client_settings
@click.argument("target", metavar="FILE[::NAME]")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
def command(
    module: bool,
    detach: bool,
    quiet: bool,
    write_result: Path | None,
    name: str | None,
    interactive: bool,
    timestamps: bool,
    as_json: bool,
    target: str,
    args: tuple[str, ...],
    **given: Any,
) -> None:
    """Run a program: its functions run in containers, for as long as the program does.

    NAME is a local entrypoint, a function, or Class.method; without it the only entrypoint runs, or the only function.
    ARGS are options made from its signature: `inrush run FILE --help` shows them. Options of this command stand before
    FILE, and FILE may be - for a program on standard input.

    \b
    inrush run hello.py                      the only entrypoint or function
    inrush run hello.py::square --x 3        one function, whose result is printed
    inrush run -w out.txt hello.py::report   its result in a file
    inrush run -q -m package.jobs::main      a module, without remarks of inrush
    """
    from inrush.cli.programs import entries, programs
    from inrush.cli.screen import output, person, screen

    flags.for_a_program(given)
    sys.argv = [target.partition("::")[0], *args]
    program = programs.load(target, module)
    app, wanted = program.app()
    entry = entries.choose(app, wanted, program.target)
    positional, named = entry.arguments(args, f"-m {target}" if module else target)
    shown = person.shown(timestamps) if interactive else output.shown(quiet, timestamps)
    with shown as seen, app.run(name=name, detach=detach, interactive=interactive):
        id = app.app_id
        try:
            result = entry.call(*positional, **named)
        except (Exception, SystemExit) as error:  # Ctrl-C is none of the program's errors: the app ends at once
            raise ProgramError(entry.name) from error
        finally:
            seen.leave()
        if write_result is not None:
            _write(result, write_result)
        elif entry.remote and (result is not None or as_json):
            screen.as_json(result) if as_json else screen.say(result)
    if detach:
        screen.note(f"{name or app.name} goes on; `inrush app stop {id}` ends it")


def _write(result: Any, path: Path) -> None:
    if not isinstance(result, str | bytes):
        raise InvalidError(f"--write-result writes text or bytes, and the result is of type {type(result).__name__}")
    path.write_bytes(result.encode() if isinstance(result, str) else result)
