"""`inrush bench`: what this machine reaches, against what it must, what is hoped for, and what others reach.

`targets` is the table of what must be, `plan` the order of measures; `starts`, `calls`, `maps`, `memory`, `payload` and
`idle` say how, `programs/` holds what is called, and `rivals` the same work by others in the same run. `report` puts
rows together, `plots` draws them.
"""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from inrush.cli import flags
from inrush.cli.screen import screen

RIVALS = ("bare_python", "runc", "crun", "multiprocessing", "dask", "ray")
"""Modules of `rivals`."""
_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option("--quick", is_flag=True, help="Fewer runs: under four minutes, once the images are built.")
@click.option("--json", "path", type=_FILE, help="Write the report there.")
@click.option("--plots", type=_FOLDER, help="Draw it, as pictures in this folder.")
@click.option("--check", is_flag=True, help="Status 1 if something is worse than it must be, or could not be measured.")
@click.option("--only", multiple=True, metavar="NAME", help="Only rows whose names begin so; may be repeated.")
@click.option("--against", multiple=True, type=click.Choice([*RIVALS, "none"]), help="Only these rivals, or none.")
@flags.all_settings
@click.pass_context
def command(
    ctx: click.Context, /, quick: bool, path: Path | None, plots: Path | None, check: bool, only: tuple[str, ...],
    against: tuple[str, ...], **given: Any,
) -> None:  # fmt: skip
    """Measure this machine: starts and their phases, calls, maps, bursts, memory; beside them what others reach."""
    from inrush.cli.commands.bench import plan
    from inrush.cli.commands.bench.report import Report

    flags.apply(given)
    signal.signal(signal.SIGTERM, _interrupt)
    rows = plan.wanted(only)
    report = Report(quick, click.echo)
    report.compete([name for name in RIVALS if name in (against or RIVALS)], rows)
    for result in plan.carry_out(rows, quick):
        report.take(result)
    if path is not None:
        report.write(path)
    if plots is not None:
        from inrush.cli.commands.bench.plots import draw

        for picture in draw(report.told, plots):
            screen.say(f"wrote {picture}")
    if report.missed:
        screen.warn(f"worse than it must be, or not measured: {', '.join(report.missed)}")
    ctx.exit(1 if check and report.missed else 0)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    """What was started is then ended, as on Ctrl-C."""
    raise KeyboardInterrupt
