"""What is measured one after the other, how often, and with which program; what cannot be measured is told, and passed
over.

Numbers are taken through the SDK and the management API, as a user's program would.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inrush import settings
from inrush.cli import api
from inrush.cli.commands.bench import calls, idle, memory, starts
from inrush.cli.commands.bench.rows import Measured, Skipped
from inrush.cli.commands.bench.targets import PHASES, TARGETS
from inrush.cli.programs import programs
from inrush.errors import InvalidError

Results = Iterator[Measured | Skipped]


class Step(NamedTuple):
    """Rows that are measured together, by `measure(program, quick)`; without a program where `program` is empty."""

    rows: tuple[str, ...]
    program: str
    measure: Callable[[Any, bool], Results]


def steps() -> list[Step]:
    """In the order in which they disturb each other least."""
    return [
        Step(("import.inrush_ms", "import.app_ms"), "", lambda _, quick: idle.imports(8 if quick else 40)),
        Step(
            ("server.idle_cpu_percent", "server.idle_mib"), "", lambda _, quick: idle.server(3 if quick else 30)
        ),
        Step(("start.isolated_ms", *PHASES, "remote.cold_ms"), "starting", _isolated),
        Step(("burst.containers_per_s",), "starting", _burst),
        Step(("remote.warm_ms",), "calling", _warm),
        Step(("spawn.calls_per_s",), "calling", _spawn),
        Step(("map.inputs_per_s", "map.one_container_per_s", "map.single_slot_per_s"), "mapping", _maps),
        Step(("map.million_mib",), "mapping", _million),
        Step(("start.torch_ms",), "torching", _torch),
        Step(("start.llm_snapshot_ms", "llm.pss_mib"), "modelling", _model),
        Step(("payload.gib_s", "payload.grew_mib"), "sending", _payload),
    ]  # fmt: skip


def wanted(only: Sequence[str]) -> set[str]:
    """Rows whose names begin with one of these; all, where none is given. Raises `InvalidError`."""
    for start in only:
        if not any(name.startswith(start) for name in TARGETS):
            raise InvalidError(f"no row is called {start!r}, or begins with it; there are {', '.join(TARGETS)}")
    return {name for name in TARGETS if not only or name.startswith(tuple(only))}


def carry_out(rows: set[str], quick: bool) -> Results:
    """Measures these rows, on the local server."""
    if settings.load()["server_url"].value:
        raise InvalidError("`inrush bench` measures this machine's own server; unset server_url (INRUSH_SERVER_URL)")
    api.start_if_none()
    with tempfile.TemporaryDirectory(prefix="ib-") as folder:  # what belongs to an installed package is not sent along
        copied = shutil.copytree(Path(__file__).parent / "programs", Path(folder) / "programs")
        loaded: dict[str, Any] = {}
        for step in steps():
            if rows & set(step.rows):
                yield from (result for result in _carefully(step, copied, loaded, quick) if _is_wanted(result, rows))


def _carefully(step: Step, folder: Path, loaded: dict[str, Any], quick: bool) -> Results:
    try:
        if not step.program:
            yield from step.measure(None, quick)
            return
        if step.program not in loaded:
            loaded[step.program] = programs.load(str(folder / f"{step.program}.py")).module
        program = loaded[step.program]
        with program.app.run():
            yield from step.measure(program, quick)
    except Exception as error:  # one that fails does not keep the others from being measured
        name, *more = step.rows
        yield Skipped(f"{name} and {len(more)} more" if more else name, f"{type(error).__name__}: {error}", failed=True)


def _is_wanted(result: Measured | Skipped, rows: set[str]) -> bool:
    return isinstance(result, Skipped) or result.name in rows


def _isolated(program: Any, quick: bool) -> Results:
    yield from starts.isolated(program, 20 if quick else 60)


def _burst(program: Any, quick: bool) -> Results:
    yield starts.burst(program, 1 if quick else 8)


def _warm(program: Any, quick: bool) -> Results:
    yield calls.warm(program, 500 if quick else 3000)


def _spawn(program: Any, quick: bool) -> Results:
    yield calls.spawn(program, 3 if quick else 15)


def _maps(program: Any, quick: bool) -> Results:
    yield from calls.rates(program, 2 if quick else 30)


def _million(program: Any, quick: bool) -> Results:
    yield Skipped("map.million_mib", "not with --quick") if quick else calls.million(program)


def _torch(program: Any, quick: bool) -> Results:
    yield starts.torch(program, 4 if quick else 30)


def _model(program: Any, quick: bool) -> Results:
    plain = [] if quick else [program.plain.remote(0)]
    if quick:
        yield Skipped("a plain load of the model, for comparison", "not with --quick, it takes half a minute")
    yield starts.model(program, 5 if quick else 40, [ms for ms, _ in plain])
    yield memory.models(program, [mib for _, mib in plain])


def _payload(program: Any, quick: bool) -> Results:
    yield from calls.gib(program, 3 if quick else 10)
