"""Whatever a core is at, a checkpoint of it, restored, goes on with the same decisions: in made-up worlds, in the
decision scripts, and after events in any order."""

from __future__ import annotations

import os

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, rule

from inrush.core.cluster import Cluster
from inrush.sim.fuzz import scenario
from inrush.sim.scenario import load
from inrush.sim.world import World
from properties.test_cluster import Anything
from properties.twins import Twins, copied
from scripts.play import HERE, Player

SCRIPTS = sorted(path.name for path in HERE.glob("*.txt"))


@pytest.mark.parametrize("seed", range(20))
def test_made_up_worlds_go_on_alike_from_any_of_their_steps(seed: int) -> None:
    world = World(scenario(1000 + seed), seed)
    twins = world.cluster = Twins(world.cluster, lambda step: step % (61 + 20 * seed) == 10)  # type: ignore[assignment]
    world.run()
    twins.agree()
    assert twins.made


def test_a_crowded_world_goes_on_alike() -> None:
    world = World(msgspec.structs.replace(load("mixed"), end_s=40.0), 7)
    twins = world.cluster = Twins(world.cluster, lambda step: step % 1000 == 999)  # type: ignore[assignment]
    world.run()
    twins.agree()
    assert twins.made > 1


class _Player(Player):
    """Plays a script with a twin from every other step."""

    def __init__(self) -> None:
        super().__init__()
        self.twin(self.cluster)

    def twin(self, cluster: Cluster) -> None:
        self.cluster = Twins(cluster, lambda step: step % 2 == 1)  # type: ignore[assignment]

    def _quotas(self, **quotas: str) -> None:
        super()._quotas(**quotas)
        self.twin(self.cluster)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_go_on_alike_from_any_of_their_steps(name: str) -> None:
    player = _Player()
    for block in (HERE / name).read_text().strip().split("\n\n"):
        for command in block.split("\n----", 1)[0].splitlines():
            if command and not command.startswith("#"):
                player.play(command)
        player.cluster.agree()  # type: ignore[attr-defined]


class Parting(Anything):
    """As `Anything`, with twins that part from the core at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.twins = self.shell.cluster = Twins(self.shell.cluster)  # type: ignore[assignment]

    @rule()
    def part(self) -> None:
        self.twins.part()  # type: ignore[attr-defined]

    @rule()
    def go_on_from_the_copy(self) -> None:
        """As a twin of a twin."""
        self.twins.first = copied(self.twins.first)  # type: ignore[attr-defined]

    @invariant()
    def all_agree(self) -> None:
        self.twins.agree()  # type: ignore[attr-defined]


Parting.TestCase.settings = settings(
    max_examples=int(os.environ.get("INRUSH_TEST_EXAMPLES", "60")) // 3,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestParting = Parting.TestCase
