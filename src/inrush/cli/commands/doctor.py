"""`inrush doctor`: what this machine can do, what it cannot, why, and what to do about it."""

from __future__ import annotations

import click

from inrush.cli import flags
from inrush.cli.screen import screen

_COLOURS = {"ok": "green", "less": "yellow", "no": "red"}


@click.command()
@flags.as_json
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check this machine.

    The status is 1 if containers cannot run here at all.
    """
    from inrush.cli import checks

    found = checks.all_of_them()
    if as_json:
        screen.as_json([check._asdict() for check in found])
    else:
        for check in found:
            _show(check)
    ctx.exit(1 if any(check.verdict == "no" for check in found) else 0)


def _show(check: object) -> None:
    from inrush.cli.checks import Check

    assert isinstance(check, Check)
    verdict = click.style(check.verdict.ljust(4), fg=_COLOURS[check.verdict])
    screen.paragraph(f"{verdict}  {check.name.ljust(16)}  ", check.found)
    if check.advice:
        screen.paragraph(f"{'':24}→ ", check.advice)
