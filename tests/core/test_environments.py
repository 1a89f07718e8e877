"""Messages about a function never name a function of another environment."""

from __future__ import annotations

import pytest

from inrush.core.cluster import Cluster
from inrush.core.model import effects, events
from inrush.wire import FunctionSpec, Gpu, GpuRequest, Inventory, Resources

APPS = [("app", "b", True), ("prod/app", "b", False), ("app", "prod/b", False)]
A10G = GpuRequest(type="A10G", count=1)


def cluster(first: str, second: str, priority: int = 0) -> tuple[Cluster, str]:
    """One GPU, which a function of the first app holds and one of the second wants; why the first one's container was
    told to go, if it was."""
    made = Cluster("test")
    gpus = (Gpu(type="A10G", index=0),)
    made.step(events.NodeJoined("no-1", Inventory(cpu=8, memory_mib=8192, gpus=gpus)), 0.0)
    made.step(
        events.FunctionAdded("fn-1", first, FunctionSpec(name="secretive", resources=Resources(gpu=(A10G,)))), 0.0
    )
    made.step(events.CallArrived("ca-0", "fn-1", "map", 1), 0.0)
    out = made.step(events.InputsArrived("ca-0", 0, 1), 0.0)
    (container,) = [effect.container for effect in out if isinstance(effect, effects.StartContainer)]
    made.step(events.ContainerReady(container, "fork", 5.0), 0.1)
    wanting = FunctionSpec(name="curious", resources=Resources(gpu=(A10G,)), priority=priority)
    made.step(events.FunctionAdded("fn-2", second, wanting), 0.2)
    made.step(events.CallArrived("ca-1", "fn-2", "map", 1), 2.0)
    out = made.step(events.InputsArrived("ca-1", 0, 1), 2.0) + made.step(events.Tick(), 3.0)
    return made, "".join(effect.why for effect in out if isinstance(effect, effects.StopContainer))


@pytest.mark.parametrize(
    ("first", "second", "named"), [("app", "b", True), ("prod/app", "b", False), ("app", "p/b", False)]
)
def test_who_holds_what_is_named_within_an_environment_only(first: str, second: str, named: bool) -> None:
    made, _ = cluster(first, second)
    text = "\n".join(made.explain("fn-2"))
    assert "busy with" in text
    assert ("secretive" in text) is named


@pytest.mark.parametrize(("first", "second", "named"), APPS)
def test_whoever_has_to_go_for_another_environment_is_told_no_name(first: str, second: str, named: bool) -> None:
    _, text = cluster(first, second, priority=5)
    assert "higher priority" in text
    assert ("curious" in text) is named
