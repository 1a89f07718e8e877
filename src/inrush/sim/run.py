"""The simulator's front door: a scenario and a seed in, a report out."""

from __future__ import annotations

import time

from inrush.sim.scenario import Scenario, load
from inrush.sim.tally import Report
from inrush.sim.world import World


def simulate(scenario: str | Scenario, seed: int) -> Report:
    """Run a scenario (a name, the path of a TOML file, or the thing itself) in virtual time.

    The same scenario and seed give the same report, but for `wall_s`. Raises `InvalidError` for a scenario that does
    not exist or is not well-formed.
    """
    name = scenario if isinstance(scenario, str) else "given"
    world = World(load(scenario) if isinstance(scenario, str) else scenario, seed)
    began = time.perf_counter()
    world.run()
    return world.tally.report(name, seed, world.now, time.perf_counter() - began)
