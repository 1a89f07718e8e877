"""`inrush bench`: what this machine reaches, against what it must and what is hoped for.

Every number is a median with its 95th percentile, taken on a warm server, in the same run as the start of a bare Python
process, so that numbers of different machines can be compared by that ratio. `programs/` holds what is measured,
`measures` how, `targets` the table of what must be.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from inrush.cli import flags, screen


@click.command()
@click.option("--quick", is_flag=True, help="Fewer runs, and no language model: a minute instead of several.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the results there.")
@click.option("--check", is_flag=True, help="Status 1 if something is worse than it must be.")
@flags.all_settings
@click.pass_context
def command(ctx: click.Context, /, quick: bool, path: Path | None, check: bool, **given: Any) -> None:
    """Measure this machine: cold start, round trip, map, start from a snapshot, import, idle server."""
    from inrush.cli.bench import measures, targets

    flags.apply(given)
    results = []
    for measured in measures.all_of_them(quick):
        result = targets.judge(measured)
        results.append(result)
        click.echo(targets.line(result))
    report = {**targets.machine(), "quick": quick, "results": results}
    if path is not None:
        path.write_text(json.dumps(report, indent=2) + "\n")
        click.echo(f"wrote {path}")
    missed = [result["name"] for result in results if not result["pass"]]
    if missed:
        screen.warn(f"worse than it must be: {', '.join(missed)}")
    ctx.exit(1 if check and missed else 0)
