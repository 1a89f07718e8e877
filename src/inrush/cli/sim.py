"""`inrush sim SCENARIO`: the real scheduler on made-up nodes and traffic, in virtual time. One seed gives one run."""

from __future__ import annotations

import json
from pathlib import Path

import click

from inrush.cli import screen


@click.command()
@click.argument("scenario")
@click.option("--seed", type=int, default=7, show_default=True, help="Decides traffic and faults.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there.")
def command(scenario: str, seed: int, path: Path | None) -> None:
    """Run SCENARIO and report waiting times, starts, GPU use, and a digest that is the same for the same seed.

    SCENARIO is the name of one that comes along, or the path of a TOML file.
    """
    from inrush.sim.run import simulate

    report = simulate(scenario, seed).as_dict()
    screen.facts(report)
    if path is not None:
        path.write_text(json.dumps(report, indent=2) + "\n")
