"""The simulator's front door: a scenario and a seed in, a world that has run and its report out."""

from __future__ import annotations

import gc
import time

from inrush.sim.report import Report, report
from inrush.sim.scenario import Scenario, load
from inrush.sim.world import World


def simulate(scenario: str | Scenario, seed: int) -> Report:
    """Run a scenario (a name, the path of a TOML file, or the thing itself) in virtual time.

    The same scenario and seed give the same report, but for `report.WALL`. Raises `InvalidError` for a scenario that
    does not exist or is not well-formed, `Unsound` when the core contradicts itself.
    """
    return simulated(scenario, seed)[1]


def simulated(scenario: str | Scenario, seed: int, name: str = "given") -> tuple[World, Report]:
    """As `simulate`, with the world, which has the curves."""
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
