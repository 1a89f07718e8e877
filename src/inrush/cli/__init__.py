"""The `inrush` command: one thin file per verb, each loaded only when it is asked for.

A verb's module holds a click command called `command`. What several verbs share stands beside them: `flags` (settings
as options), `programs` (finding what to run in a file), `options` (a signature as options), `api` (management over
HTTP), `screen` (what people see), `failures` (how errors end a command).
"""

from __future__ import annotations

from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> None:
    """Runs one command and ends the process, with status 0 only if the command did what was asked."""
    import sys

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # what a terminal cannot show must not end the program that says it
    try:
        from inrush.cli.screen.failures import status_of
        from inrush.cli.verbs import root

        status = status_of(root, args)
    except KeyboardInterrupt:  # before anything was there to handle it
        status = 130
    sys.exit(status)
