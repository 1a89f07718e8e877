"""What computes in the simulator shares the cores of its node, and scaling gives it no more containers than help."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inrush.sim.agenda import Agenda
from inrush.sim.processors import Processors
from inrush.sim.run import simulated
from inrush.sim.scenario import Scenario, load

change = msgspec.structs.replace


def waited_s(scenario: Scenario, name: str) -> float:
    """How long the last percent of the inputs of a function waited."""
    _, report = simulated(scenario, 7)
    return report.functions[f"fn-maps-{name}"]["queue_ms"]["p99"] / 1000  # type: ignore[index,no-any-return]


def alone(name: str, **scale: int) -> Scenario:
    """The scenario with one of its functions, whose map comes at once."""
    scenario = load("computing")
    (workload,) = [w for w in scenario.workloads if w.spec.name == name]
    spec = change(workload.spec, scale=change(workload.spec.scale, **scale))
    traffic = change(workload.traffic, bursts=((0, 1),))
    return change(scenario, workloads=(change(workload, spec=spec, traffic=traffic),))


@pytest.mark.parametrize("name", ["warm", "imports"])
def test_a_map_that_computes_takes_as_long_as_with_as_many_containers_as_there_are_cores(name: str) -> None:
    free, capped = waited_s(alone(name), name), waited_s(alone(name, max_containers=2), name)
    swamped = waited_s(alone(name, min_containers=50), name)
    assert free <= 1.2 * capped
    assert swamped > 2 * capped, "containers that compete make it longer, so the bound is of use"


def test_inputs_that_wait_get_as_many_containers_beside_others_that_compute() -> None:
    assert waited_s(load("computing"), "waits") <= 1.05 * waited_s(alone("waits"), "waits")


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.001, 5)), min_size=1, max_size=20), st.integers(1, 4))
def test_cores_are_shared_and_none_is_idle_while_something_computes(
    works: list[tuple[float, float]], cores: int
) -> None:
    agenda, ends = Agenda(), dict[int, float]()
    processors = Processors(agenda, cores)
    for n, (at, seconds) in enumerate(works):
        agenda.at(at, processors.compute, f"co-{n}", seconds, lambda n=n: ends.setdefault(n, agenda.now))
    while agenda.next_at < float("inf"):
        agenda.go_on()
    assert len(ends) == len(works)
    first, total = min(at for at, _ in works), sum(seconds for _, seconds in works)
    assert max(ends.values()) >= first + total / cores - 1e-6
    for n, (at, seconds) in enumerate(works):
        assert at + seconds - 1e-6 <= ends[n] <= at + total + 1e-6
    assert processors.left_s() == {}


def test_what_ends_leaves_its_cores_to_the_others() -> None:
    agenda, ends = Agenda(), list[float]()
    processors = Processors(agenda, 1)
    for container in ("co-1", "co-2"):
        processors.compute(container, 1.0, lambda: ends.append(agenda.now))
    agenda.at(1.0, processors.drop, "co-2")
    while agenda.next_at < float("inf"):
        agenda.go_on()
    assert ends == [1.5]
