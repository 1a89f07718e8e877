"""What is simulated, as data: nodes, functions with their traffic, and what goes wrong. Read from TOML.

Scenarios that come with inrush are the files of `scenarios/`; `load` takes their name, or the path of a file of one's
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import msgspec

from inrush.errors import InvalidError
from inrush.sim.chance import exponential
from inrush.wire import FunctionSpec


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the parts of a scenario: a key that is not known is an error."""


class Pool(Part, frozen=True):
    """Nodes that are alike."""

    nodes: int
    cpu: float = 64.0
    memory_mib: int = 524_288
    gpu_type: str = ""
    gpus: int = 0


class Traffic(Part, frozen=True):
    """Calls per second: `rates` are (from when on, how many), so a step is two of them and a spike three. They come
    evenly, or (`poisson`) as calls that do not know of each other do."""

    rates: tuple[tuple[float, float], ...]
    until_s: float
    poisson: bool = True

    def times(self, seed: int, name: str) -> Iterator[float]:
        """When calls arrive, in order."""
        at, count = self.rates[0][0], 0
        while True:
            at = self._after(at, exponential(seed, "gap", name, count) if self.poisson else 1.0)
            if at >= self.until_s:
                return
            yield at
            count += 1

    def _after(self, at: float, amount: float) -> float:
        """The time at which, from `at` on, `amount` calls are expected to have come."""
        ends = [*(start for start, _ in self.rates[1:]), self.until_s]
        for (_, rate), end in zip(self.rates, ends, strict=True):
            if end > at:
                room = (end - at) * rate
                if amount <= room:
                    return at + amount / rate
                amount, at = amount - room, end
        return self.until_s


class Workload(Part, frozen=True):
    """A function, its traffic, and how long its starts and its inputs take."""

    spec: FunctionSpec
    traffic: Traffic
    app: str = "app"
    inputs: int = 1
    """Inputs of a call; more than one makes it a map."""
    start_s: float = 0.01
    start_spread: float = 0.3
    service_s: float = 0.1
    service_spread: float = 0.5
    start_fails: float = 0.0
    """Share of the starts that crash."""
    input_crashes: float = 0.0
    """Share of the attempts that take their container with them."""


class Loss(Part, frozen=True):
    """Nodes that die together: `noticed_s` later the server knows, `back_s` after their death they are there again,
    empty."""

    at_s: float
    nodes: int
    noticed_s: float = 6.0
    back_s: float | None = None


class Scenario(Part, frozen=True):
    """A world and what happens in it. It ends when all calls have, or at `end_s`."""

    about: str
    pools: tuple[Pool, ...]
    workloads: tuple[Workload, ...]
    losses: tuple[Loss, ...] = ()
    end_s: float = 3600.0
    link_s: float = 0.001
    """How long a message takes between server and node."""


def names() -> list[str]:
    """Scenarios that come with inrush."""
    return sorted(f.name.removesuffix(".toml") for f in _folder().iterdir() if f.name.endswith(".toml"))


def load(name: str) -> Scenario:
    """The scenario of this name, or in the file of this path. Raises `InvalidError` saying what is wrong with it."""
    try:
        path = _folder() / f"{name}.toml" if name in names() else Path(name)
        return msgspec.toml.decode(path.read_text(), type=Scenario)
    except OSError as error:
        known = ", ".join(names())
        what = f"no scenario {name!r} ({error.strerror}); there are {known}, or give the path of a file"
        raise InvalidError(what) from None
    except msgspec.DecodeError as error:
        raise InvalidError(f"scenario {name}: {error}") from None


def _folder() -> resources.abc.Traversable:
    return resources.files("inrush.sim") / "scenarios"
