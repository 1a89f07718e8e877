"""How tightly a mixed load is packed, and that nobody starves in it."""

from __future__ import annotations

import msgspec
import pytest

from inrush.core.cluster import Cluster
from inrush.core.model import effects, events
from inrush.sim.report import report
from inrush.sim.scenario import load
from inrush.sim.world import World
from inrush.wire import FunctionSpec, Gpu, GpuRequest, Inventory, Resources


@pytest.mark.parametrize("seed", [1, 2])
def test_while_work_waits_at_least_95_of_100_gpus_are_busy(seed: int) -> None:
    world = World(msgspec.structs.replace(load("mixed"), end_s=90.0), seed)
    world.run()
    assert report(world, "mixed", 0.0).gpu_busy_while_waiting >= 0.95


@pytest.mark.parametrize(
    "large",
    [
        FunctionSpec(name="large", resources=Resources(gpu=(GpuRequest(type="H100", count=4),))),
        FunctionSpec(name="large", cluster_size=2, resources=Resources(gpu=(GpuRequest(type="H100", count=3),))),
    ],
    ids=["four on one node", "a cluster of two"],
)
def test_a_stream_of_small_ones_does_not_starve_who_wants_many_at_once(large: FunctionSpec) -> None:
    """Small inputs of 1 s keep coming to all GPUs; who wants several at once gets them within seconds."""
    cluster = Cluster("stream")
    devices = tuple(Gpu(type="H100", index=i) for i in range(4))
    small = FunctionSpec(name="small", resources=Resources(gpu=(GpuRequest(type="H100"),)))
    runs: dict[str, float] = {}
    started: list[str] = []

    def step(event: events.Event, now: float) -> None:
        pending = list(cluster.step(event, now))
        while pending:
            effect = pending.pop(0)
            if isinstance(effect, effects.StartContainer):
                started.append(effect.function)
                pending += cluster.step(events.ContainerReady(effect.container, "fork", 1.0), now)
            elif isinstance(effect, effects.StopContainer):
                pending += cluster.step(events.ContainerEnded(effect.container, 0, "told to"), now)
            elif isinstance(effect, effects.Dispatch):
                runs[effect.container] = now
                ends[effect.container] = effect
        assert cluster.violations() == []

    ends: dict[str, effects.Dispatch] = {}
    for node in ("no-1", "no-2"):
        step(events.NodeJoined(node, Inventory(cpu=64, memory_mib=64_000, gpus=devices)), 0.0)
    for number in range(8):
        step(events.FunctionAdded(f"fn-{number}", f"ap-{number}", small), 0.0)
        step(events.CallArrived(f"ca-{number}", f"fn-{number}", "map", 1000), 0.0)
        step(events.InputsArrived(f"ca-{number}", 0, 1000), 0.0)
    step(events.FunctionAdded("fn-large", "ap-large", large), 0.0)
    step(events.CallArrived("ca-large", "fn-large", "remote", 1), 1.0)
    step(events.InputsArrived("ca-large", 0, 1), 1.0)
    now = 1.0
    while "fn-large" not in started and now < 30.0:
        now += 0.1
        for container, dispatch in list(ends.items()):
            if now - runs[container] >= 1.0 + 0.1 * (int(dispatch.call[-1], 36) % 8):
                del ends[container]
                done = events.AttemptsEnded(container, dispatch.call, dispatch.indexes, (0,), (None,))
                step(done, now)
        step(events.Tick(), now)
    assert "fn-large" in started, "\n".join(cluster.explain("fn-large"))
