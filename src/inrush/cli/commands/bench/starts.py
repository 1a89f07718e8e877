"""Starts from zero: the phases of one, a burst of many, torch, and a model from its snapshot.

"From zero" is made by stopping the function's containers and waiting until the server lists none; its zygote or
snapshot stays. All processes of a machine share the monotonic clock, so a container's stamp can be compared with ours.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

from inrush.cli import api
from inrush.cli.commands.bench import containers
from inrush.cli.commands.bench.rows import Measured
from inrush.cli.commands.bench.targets import PHASES
from inrush.errors import TimeoutError

BURST = 200
_REST_S = 4.0
"""Between bursts; what is made ahead is made when nothing else is to do."""
_LEARN_LIMIT_S = 60.0
_TORCH_AHEAD = re.compile(r"\btorch\b.* imported ahead")
_MOUNT, _ISOLATE, _VERIFY = ("prepare", "mount"), ("berth", "groups", "confine", "become"), ("verify", "answer")
_HOOKS = ("enter hooks", "snap hooks", "web app")
"""Names of the phases that agent, launcher and guest tell."""


def isolated(program: Any, runs: int) -> Iterator[Measured]:
    """One container at a time. What precedes the order to the node is a phase too, but no part of the first number."""
    program.stamped.remote(0)
    starts = [_start(program) for _ in range(runs)]
    first_line = [sum(start[name] for name in PHASES[1:6]) for start in starts]
    yield Measured("start.isolated_ms", first_line)
    for name in PHASES:
        yield Measured(name, [start[name] for start in starts])
    yield Measured("remote.cold_ms", [sum(start.values()) for start in starts])


def _start(program: Any) -> dict[str, float]:
    """Milliseconds by phase, which add up to the whole call."""
    containers.none_of(program.app.name)
    called_at, called = time.time(), time.monotonic()
    id, first_line, last_line = program.stamped.remote(1)
    answered = time.monotonic()
    told = containers.phases(id)
    placed_ms = max(0.0, (told["created"] - called_at) * 1000)
    first_line_ms, last_line_ms, answered_ms = ((at - called) * 1000 for at in (first_line, last_line, answered))
    return split(placed_ms, first_line_ms, last_line_ms, answered_ms, told["phases_ms"])


def split(
    placed_ms: float, first_line_ms: float, last_line_ms: float, answered_ms: float, told: Sequence[Sequence[Any]]
) -> dict[str, float]:
    """The phases, from what client, node and user code noted: what is between two notes belongs to the later one."""
    ms = {name: float(value) for name, value in told}
    mounted, isolated = sum(ms.get(name, 0.0) for name in _MOUNT), sum(ms.get(name, 0.0) for name in _ISOLATE)
    forked, verified = ms.get("fork", 0.0), sum(ms.get(name, 0.0) for name in _VERIFY)
    hooks = last_line_ms - first_line_ms + sum(ms.get(name, 0.0) for name in _HOOKS)
    verified_at = placed_ms + mounted + forked + isolated + verified
    parts = (
        placed_ms, mounted, forked, isolated, verified, first_line_ms - verified_at, hooks,
        answered_ms - first_line_ms - hooks,
    )  # fmt: skip
    return dict(zip(PHASES, parts, strict=True))


def burst(program: Any, runs: int, count: int = BURST) -> Measured:
    """Many containers of one function at once: from the order to the last that is ready, its module imported."""
    containers.none_of(program.app.name)
    _burst(program, count)  # how many berths are made ahead follows the last burst
    return Measured("burst.containers_per_s", [_burst(program, count) for _ in range(runs)])


def _burst(program: Any, count: int) -> float:
    app = program.app.name
    time.sleep(_REST_S)
    ordered = time.time()
    program.crowd.update_autoscaler(min_containers=count)
    there = containers.ready(app, "crowd", count, look_s=0.3)
    program.crowd.update_autoscaler(min_containers=0)
    containers.gone(app)
    last: float = max(container["ready"] for container in there)
    return count / (last - ordered)


def torch(program: Any, runs: int) -> Measured:
    """From the call to the result; beside it what a fresh interpreter takes in the same image."""
    app, samples = program.app.name, []
    _learned(program)
    for _ in range(runs):
        containers.none_of(app)
        began = time.monotonic()
        program.uses_torch.remote(1)
        samples.append((time.monotonic() - began) * 1000)
    return Measured(
        "start.torch_ms", samples, {"plain": [program.plain.remote(0) for _ in range(1 if runs < 10 else 3)]}
    )


def _learned(program: Any) -> None:
    """Wait until the zygote imports torch ahead."""
    app, deadline = program.app.name, time.monotonic() + _LEARN_LIMIT_S
    while True:
        program.uses_torch.remote(0)
        lines = api.get(f"/functions/{app}/uses_torch/why")["lines"]
        if any(_TORCH_AHEAD.search(line) for line in lines):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"torch is not imported ahead after {_LEARN_LIMIT_S:g} s; see `inrush why uses_torch`")
        containers.none_of(app)
        time.sleep(0.2)


def model(program: Any, runs: int, plain_ms: Sequence[float]) -> Measured:
    """From the call until `generate` runs, the snapshot being up; beside it the load in a fresh interpreter."""
    instance = program.Model()
    assert "Paris" in instance.generate.remote("The capital of France is", 8)[1]
    samples = []
    for _ in range(runs):
        containers.none_of(program.app.name)
        called = time.monotonic()
        began, _text = instance.generate.remote("Hello", 1)
        samples.append((began - called) * 1000)
    return Measured("start.llm_snapshot_ms", samples, {"plain": plain_ms})
