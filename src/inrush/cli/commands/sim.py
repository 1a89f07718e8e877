"""`inrush sim SCENARIO`: the real scheduler on made-up nodes and traffic, in virtual time. The same seed gives the same
run.

`sim compare` has the scaling policies of other systems serve the same traffic, `sim fuzz` looks for seeds on which the
scheduler fails, and `sim replay` steps a recorded journal again.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from inrush.cli.screen import screen
from inrush.errors import InternalError, InvalidError

HERE = Path(__file__).parent


class _Scenarios(click.Group):
    """A group that takes any word which is no command as a scenario."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Scenarios)
def command() -> None:
    """Run the scheduler in virtual time.

    `inrush sim SCENARIO` is short for `inrush sim run SCENARIO`.
    """


@command.command()
@click.argument("scenario")
@click.option("--seed", type=int, default=7, show_default=True, help="Decides traffic and faults.")
@click.option("--trace", help="A CSV of arrivals, as the traffic of the scenario's first function.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write the report to this file.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write it as a page, with charts.")
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Write the charts as a picture.")
def run(scenario: str, seed: int, trace: str | None, path: Path | None, html: Path | None, png: Path | None) -> None:
    """Run SCENARIO and report waiting times, starts and GPU use.

    SCENARIO is the name of a built-in one (`inrush sim list`), or the path of a TOML file. The digest in the report is
    the same for the same seed.
    """
    from inrush.sim.charts import charts
    from inrush.sim.page import page
    from inrush.sim.plots import draw
    from inrush.sim.run import simulated
    from inrush.sim.scenario import load, play

    world_of = load(scenario)
    if trace is not None:
        world_of = play(world_of, trace)
    with _told(seed):
        world, report = simulated(world_of, seed, scenario)
    screen.facts(report.as_dict())
    if path is not None:
        path.write_text(json.dumps(report.as_dict(), indent=2) + "\n")
    if html is not None:
        html.write_text(page(report, world_of.about, charts(world)))
    if png is not None:
        draw(charts(world), report, png)


@command.command("list")
def list_() -> None:
    """List the built-in scenarios."""
    from inrush.sim.scenario import load, names

    screen.table(["scenario", "about"], [[name, load(name).about] for name in names()])


@command.command()
@click.argument("files", nargs=-1)
@click.option(
    "--start-s",
    "starts_s",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    default=(0.005, 1.0, 10.0, 40.0),
    show_default=True,
    help="Seconds that a start takes; may be given several times.",
)
@click.option(
    "--service-s",
    type=float,
    default=1.0,
    show_default=True,
    help="Seconds that an input takes, where FILES do not say.",
)
@click.option(
    "--slots", type=click.IntRange(min=1), default=1, show_default=True, help="Inputs at once in a container."
)
@click.option("--seed", type=int, default=7, show_default=True, help="Decides what is left to chance.")
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write all numbers to this file.")
def compare(
    files: tuple[str, ...], starts_s: tuple[float, ...], service_s: float, slots: int, seed: int, path: Path | None
) -> None:
    """Compare inrush's scaling with that of other systems.

    FILES are tables of arrivals, each played once for every length of a start. Without FILES the built-in traces are
    used, which takes two minutes.
    """
    from inrush.sim.compare import as_dict, compare, recorded
    from inrush.sim.traces import TRACES

    told = []
    for trace in [trace for file in files for trace in recorded(file, starts_s, slots, service_s)] or TRACES:
        (row,) = compare([trace], seed)
        told.append(as_dict(row))
        _show(told[-1])
    if len(told) > 1:
        _show_all(told)
    if path is not None:
        path.write_text(json.dumps(told, indent=2) + "\n")


def _show(told: dict[str, Any]) -> None:
    """Prints what each policy made of one trace."""
    slots = "1 slot" if told["slots"] == 1 else f"{told['slots']} slots"
    screen.say(f"{told['trace']}: {told['work_s']:.0f} s of work, a start takes {told['start_s']:g} s, {slots}")
    marks = dict.fromkeys(told["beaten"], "beaten") | dict.fromkeys(told["dominated_by"], "better in both")
    rows = [
        [
            *(policy, f"{one['p50_s']:.3g} s", f"{one['p99_s']:.3g} s", f"{one['gpu_s'] / told['work_s']:.2f}"),
            *(one["starts"], marks.get(policy, "")),
        ]
        for policy, one in told["policies"].items()
    ]
    oracle = ["oracle", "", rows[0][2], f"{told['oracle_s'] / told['work_s']:.2f}", "", "at most our p99"]
    screen.table(["policy", "wait p50", "p99", "paid / work", "starts", ""], [*rows, oracle])
    screen.say()


def _show_all(told: list[dict[str, Any]]) -> None:
    """Prints on how many traces ours beats each of the others, or is worse than it in both respects."""
    rivals = [policy for policy in told[0]["policies"] if policy != "inrush"]
    counts = [[sum(rival in one[key] for one in told) for key in ("beaten", "dominated_by")] for rival in rivals]
    rows = [[rival, *count] for rival, count in zip(rivals, counts, strict=True)]
    screen.table(["policy", f"beaten, of {len(told)}", "better in both"], rows)


@command.command()
@click.option("--seeds", type=int, default=100, show_default=True, help="The number of worlds.")
@click.option("--first", type=int, default=0, show_default=True, help="The seed to begin with.")
def fuzz(seeds: int, first: int) -> None:
    """Check the scheduler in small worlds made up from seeds.

    The state is checked after every step, and every call has to end. The seeds that fail are printed, and the status is
    1 if any does.
    """
    from inrush.sim.fuzz import failure

    failed = 0
    for seed in range(first, first + seeds):
        if what := failure(seed):
            failed += 1
            screen.say(f"seed {seed} at commit {commit()}: {what}")
            screen.say(f"  again: inrush sim fuzz --first {seed} --seeds 1")
    screen.say(f"{seeds} seeds from {first}: {failed} failed")
    if failed:
        raise click.exceptions.Exit(1)


@command.command()
@click.argument("journal", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--against", metavar="TREE", help="A source tree, or a git revision of this one.")
def replay(journal: Path, against: str | None) -> None:
    """Step a JOURNAL (`inrush server journal FILE`) again.

    Prints how many decisions there are; with `--against`, the first one that another source tree decides differently,
    and the status is then 1.
    """
    from inrush.sim.replay import compare, decisions, elsewhere, read

    told, entries = read(journal)
    span_s = entries[-1][0] - entries[0][0] if entries else 0.0
    since = "from a checkpoint on" if "checkpoint" in told else "from the start of the server"
    whole = since if told["complete"] else "its beginning was no longer there: these are not the decisions taken then"
    screen.say(f"{len(entries)} events of {span_s:.1f} s, recorded by {told['version']}, {whole}")
    if against is None:
        decided = failed = 0
        for taken in decisions(journal):
            decided += len(taken["decided"])
            failed += "failed" in taken
        screen.say(f"{decided} decisions" + (f", {failed} steps failed" if failed else ""))
        return
    with _tree(against) as tree:
        difference = compare(decisions(journal), elsewhere(journal, tree))
    if difference is None:
        screen.say(f"{against} decides the same")
        return
    for name, step in (("here", difference.here), (against, difference.there)):
        screen.say(f"{name}: {json.dumps(step, indent=2) if step else 'nothing more'}")
    raise click.exceptions.Exit(1)


@contextlib.contextmanager
def _tree(named: str) -> Iterator[Path]:
    """The source tree of this name. A git revision is checked out for as long as it is needed."""
    if Path(named).is_dir():
        yield Path(named).resolve()
        return
    with tempfile.TemporaryDirectory(prefix="inrush-tree-") as folder:
        root = subprocess.run(["git", "-C", str(HERE), "rev-parse", "--show-toplevel"], capture_output=True, text=True)
        top = root.stdout.strip() or str(HERE)
        packed = subprocess.run(["git", "-C", top, "archive", named, "src"], capture_output=True)
        if packed.returncode:
            raise InvalidError(f"{named} is neither a folder nor a git revision: {packed.stderr.decode().strip()}")
        subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
        yield Path(folder)


@contextlib.contextmanager
def _told(seed: int) -> Iterator[None]:
    """Prints a failure with everything that is needed to reproduce it."""
    try:
        yield
    except InternalError as error:
        raise InternalError(f"seed {seed} at commit {commit()}: {error}") from error


def commit() -> str:
    """The commit of this source tree, or the version where it is not in git."""
    found = subprocess.run(["git", "-C", str(HERE), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else version("inrush")
