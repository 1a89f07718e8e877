"""The simulator's entry: it takes a scenario and a seed, and returns a report."""

from __future__ import annotations

import gc
import time

from inrush.sim.report import Report, report
from inrush.sim.scenario import Scenario, load
from inrush.sim.world import World


def simulate(scenario: str | Scenario, seed: int) -> Report:
    """Runs a scenario (a name, the path of a TOML file, or a `Scenario`) in virtual time.

    The same scenario and seed give the same report, except for the fields in `report.WALL`. Raises `InvalidError` for a
    scenario that does not exist or is not well-formed, and `Unsound` when the core contradicts itself.
    """
    return simulated(scenario, seed)[1]


def simulated(scenario: str | Scenario, seed: int, name: str = "given") -> tuple[World, Report]:
    """Runs a scenario like `simulate`, and returns the world too, which has the curves."""
    name = scenario if isinstance(scenario, str) else name
    world = World(load(scenario) if isinstance(scenario, str) else scenario, seed)
    began = time.perf_counter()
    enabled = gc.isenabled()
    gc.disable()  # what the core and the world make goes by counting references; looking for cycles finds none
    try:
        world.run()
    finally:
        if enabled:
            gc.enable()
    return world, report(world, name, time.perf_counter() - began)
