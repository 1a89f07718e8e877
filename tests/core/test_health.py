"""Nodes that are set aside for failed starts, and that no environment can have set aside for others."""

from __future__ import annotations

import pytest

from inrush.core.cluster import Cluster
from inrush.core.model import effects, events
from inrush.core.place.health import SHUN_AFTER
from inrush.wire import FunctionSpec, Inventory, Resources, ScalePolicy, Status

NODE = Inventory(cpu=64, memory_mib=64_000)


def started(out: list[effects.Effect]) -> list[effects.StartContainer]:
    return [effect for effect in out if isinstance(effect, effects.StartContainer)]


def failing(cluster: Cluster, app: str, node: str) -> None:
    """An app whose containers start well, except on one node."""
    scale = ScalePolicy(min_containers=1, max_containers=12)
    spec = FunctionSpec(name="f", scale=scale, resources=Resources(memory_mib=5_000))  # twelve fit on a node
    function = f"fn-{app}"
    (first,) = started(cluster.step(events.FunctionAdded(function, app, spec), 0.0))
    cluster.step(events.ContainerReady(first.container, "fork", 5.0), 0.0)
    bad = [e for e in started(cluster.step(events.ScaleOverridden(function, 12, 12), 0.0)) if e.node == node]
    assert len(bad) >= SHUN_AFTER
    for effect in bad[:SHUN_AFTER]:
        cluster.step(events.ContainerEnded(effect.container, Status.CRASHED, "it failed"), 0.0)


@pytest.mark.parametrize(
    ("others", "blaming", "shunned"),
    [
        ((), ("app",), True),
        (("evil/other",), ("evil/app",), True),
        (("quiet",), ("evil/app",), False),
        (("quiet",), ("evil/app", "evil/other"), False),
        (("quiet",), ("evil/app", "app"), True),
    ],
)
def test_a_node_is_shunned_when_all_or_two_environments_fail_on_it(
    others: tuple[str, ...], blaming: tuple[str, ...], shunned: bool
) -> None:
    cluster = Cluster("health")
    for node in ("no-1", "no-2"):
        cluster.step(events.NodeJoined(node, NODE), 0.0)
    for app in others:
        cluster.step(events.FunctionAdded(f"fn-{app}", app, FunctionSpec(name="g")), 0.0)
    for app in blaming:
        failing(cluster, app, "no-2")
    assert bool(cluster.nodes["no-2"].shunned) is shunned
    assert cluster.violations() == []
