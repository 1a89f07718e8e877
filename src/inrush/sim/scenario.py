"""What is simulated, as data: pools of nodes, functions with their traffic, and faults. It is read from TOML.

The files in `scenarios/` come with inrush. `load` takes their names, or the path of another file.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from inrush.core.model.events import ScaleOverridden
from inrush.errors import InvalidError
from inrush.pools.spec import PoolSpec
from inrush.sim.section import Section
from inrush.sim.traffic import Traffic
from inrush.wire import FunctionSpec


class Pool(PoolSpec, frozen=True):
    """A simulated pool, whose `node_s` is a mean."""

    node_spread: float = 0.1


class Workload(Section, frozen=True):
    """A function, its traffic, and how long its starts and its inputs take."""

    spec: FunctionSpec
    traffic: Traffic
    app: str = "app"
    inputs: int = 1
    """Inputs of one call. More than one makes it a map."""
    start_s: float = 0.01
    start_spread: float = 0.3
    service_s: float = 0.1
    """Seconds that an input takes, where the traffic does not say it."""
    service_spread: float = 0.5
    start_cpu: float = 0.0
    """The part of a start that computes. What computes on a node at the same time shares its cores."""
    service_cpu: float = 0.0
    """The part of an input that computes."""
    warm_s: float = 0.0
    """Seconds that a container computes before its first input."""
    start_fails: float = 0.0
    """The part of the starts that crash."""
    input_crashes: float = 0.0
    """The part of the attempts that crash their container."""
    slo_ms: float | None = None
    """The promise to callers that 99 of 100 inputs wait no longer than this. The report says whether it was kept."""

    @property
    def computes(self) -> bool:
        """Whether processors matter to it."""
        return bool(self.start_cpu or self.service_cpu or self.warm_s)

    @property
    def function(self) -> str:
        """The id of the function."""
        return f"fn-{self.app}-{self.spec.name}"


class Fault(Section, frozen=True):
    """What happens to `nodes` nodes (of `pool`, or any) at `at_s`, for `for_s` (or for ever), and again each `every_s`,
    `times` times in all; each time to others.

    - `loss`: they die with all they run; when they come back they are empty.
    - `silence`: their link is cut while they run on; when it is there again they say what still runs.
    - `slow`: starts and inputs that begin meanwhile take `factor` times as long.
    - `forgetful`: starts that are ordered of them meanwhile are lost, and so is every report of a container's end.

    The server learns of a loss or a silence after `noticed_s`; a silence shorter than that only delays what is said.
    """

    kind: Literal["loss", "silence", "slow", "forgetful"]
    at_s: float
    nodes: int = 1
    pool: str = ""
    for_s: float | None = None
    noticed_s: float = 6.0
    factor: float = 4.0
    times: int = 1
    every_s: float = 60.0


class Override(Section, frozen=True):
    """A person changes the policy of a function while it runs."""

    at_s: float
    function: str
    """The function's id: `fn-APP-NAME`."""
    min_containers: int | None = None
    max_containers: int | None = None
    buffer_containers: int | None = None

    def event(self) -> ScaleOverridden:
        """What the core is told."""
        return ScaleOverridden(self.function, self.min_containers, self.max_containers, self.buffer_containers)


class Scenario(Section, frozen=True):
    """A world and what happens in it. It ends when all calls have ended, or at `end_s`."""

    about: str
    pools: tuple[Pool, ...]
    workloads: tuple[Workload, ...]
    faults: tuple[Fault, ...] = ()
    overrides: tuple[Override, ...] = ()
    end_s: float = 86_400.0
    link_s: float = 0.001
    """Seconds that a message takes between server and node."""
    sample_s: float = 1.0
    """How often queues and GPUs are sampled for the report."""
    check_s: float | None = None
    """How often the invariants of the core's whole state are checked; 0 for after every step, None for only at the
    end."""


def names() -> list[str]:
    """Names of the scenarios that come with inrush."""
    return sorted(f.name.removesuffix(".toml") for f in _folder().iterdir() if f.name.endswith(".toml"))


def load(name: str) -> Scenario:
    """The scenario of this name, or in the file at this path. Raises `InvalidError` saying what is wrong with it."""
    try:
        path = _folder() / f"{name}.toml" if name in names() else Path(name)
        return msgspec.toml.decode(path.read_text(), type=Scenario)
    except OSError as error:
        known = ", ".join(names())
        what = f"no scenario {name!r} ({error.strerror}); there are {known}, or give the path of a file"
        raise InvalidError(what) from None
    except msgspec.DecodeError as error:
        raise InvalidError(f"scenario {name}: {error}") from None


def play(scenario: Scenario, trace: str) -> Scenario:
    """The scenario with a recorded trace as the traffic of its first workload."""
    first, *others = scenario.workloads
    traffic = Traffic(trace=trace, durations=first.traffic.durations, speed=first.traffic.speed)
    return msgspec.structs.replace(scenario, workloads=(msgspec.structs.replace(first, traffic=traffic), *others))


def _folder() -> resources.abc.Traversable:
    return resources.files("inrush.sim") / "scenarios"
