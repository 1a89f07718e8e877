"""What people are told of pools, and what is refused for good although pools are there."""

from __future__ import annotations

import msgspec
import pytest

from inrush.core.cluster import Cluster
from inrush.core.model import effects, events
from inrush.core.place.never import servable
from inrush.wire import FunctionSpec, GpuRequest, ScalePolicy

from .test_pools import Told, inventory, pool, spec, waiting

LOCAL = inventory(gpus=0, cpu=4.0)


def explained(told: Told) -> str:
    return "\n".join(told.cluster.explain("fn-1"))


def test_why_says_what_is_on_the_way_and_since_when_and_what_for() -> None:
    told = Told()
    told.step(events.NodeJoined("no-local", LOCAL))
    waiting(told)
    told.until(3)
    text = explained(told)
    assert "pool cloud, a node for 1 an hour: 0 there, at most 4, 1 on the way for 3 s (one takes 10 s)" in text
    assert "pool cloud, 3 s ago: ordered 1: 1 f: 1 waiting, service time unknown" in text
    assert "no node has A100; there is no GPU at all; 1 of pool cloud on the way" in text
    waits = [effect.why for effect in told.of(effects.Waiting)]  # type: ignore[attr-defined]
    assert waits[-1] == "no node has A100; there is no GPU at all; 1 of pool cloud on the way"


def test_why_says_which_pool_is_passed_over_and_until_when() -> None:
    told = Told()
    told.step(events.PoolJoined("dear", inventory(gpus=2), 0, price=9.0, node_s=10.0))
    told.step(events.NodeJoined("no-local", LOCAL))
    waiting(told)
    told.step(events.NodesFailed("cloud", 1, "it is stocked out", 60.0))
    told.until(10)
    text = explained(told)
    assert (
        "pool cloud, a node for 1 an hour: 0 there, at most 4; it could not: it is stocked out, asked again in 50 s"
        in text
    )
    assert "pool cloud, 10 s ago: 1 of those ordered will not come: it is stocked out" in text
    assert "pool dear, a node for 9 an hour: 0 there, at most 0; it is at its maximum" in text
    assert "1 inputs wait: " in text
    assert "pool cloud could not: it is stocked out, pool dear is at its maximum" in text


def test_who_never_waited_for_nodes_hears_nothing_of_pools() -> None:
    told = Told()
    told.step(events.NodeJoined("no-local", inventory()))
    waiting(told)
    assert "pool" not in explained(told)
    assert told.of(effects.NodesWanted) == []


def test_what_was_given_back_is_told() -> None:
    told = Told(keep_s=5.0)
    told.step(events.NodeJoined("no-1", inventory(gpus=2), pool="cloud"))
    told.until(20)
    assert any("gave back no-1: empty for 5 s" in text for _, text in told.cluster.explain_pool("cloud").told)


def test_nodes_that_were_there_before_their_pool_are_counted_as_its_own() -> None:
    told = Told()
    told.step(events.NodeJoined("no-1", inventory(gpus=2), pool="rack"))
    told.step(events.PoolJoined("rack", inventory(gpus=2), 2, nodes_min=2))
    assert list(told.cluster.pools["rack"].nodes) == ["no-1"]
    told.step(events.NodeJoined("no-1", inventory(gpus=2), pool="cloud"))
    assert (list(told.cluster.pools["rack"].nodes), list(told.cluster.pools["cloud"].nodes)) == ([], ["no-1"])


def test_a_pool_whose_nodes_have_not_the_labels_is_not_asked() -> None:
    told = Told()
    labelled = msgspec.structs.replace(spec(), node_labels=(("disk", "nvme"),), scale=ScalePolicy(min_containers=1))
    told.step(events.FunctionAdded("fn-1", "app", labelled))
    assert told.of(effects.NodesWanted) == []
    told.step(events.PoolJoined("fast", msgspec.structs.replace(inventory(), labels=(("disk", "nvme"),)), 1))
    told.until(2)
    assert [order.pool for order in told.of(effects.NodesWanted)] == ["fast"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (spec(), None),
        (
            spec(GpuRequest(type="H100")),
            "no node has H100; there is no GPU at all; nor will a node of a pool: "
            "cheap has 8 A100, 64 cpu, 65536 MiB in aws north; plain has no GPU, 64 cpu, 65536 MiB",
        ),
        (
            FunctionSpec(name="f", cloud="gcp"),
            "no node is in gcp; nor will a node of a pool: "
            "cheap has 8 A100, 64 cpu, 65536 MiB in aws north; plain has no GPU, 64 cpu, 65536 MiB",
        ),
    ],
)
def test_what_neither_nodes_nor_pools_can_run_is_refused_by_both(asked: FunctionSpec, sentence: str | None) -> None:
    cluster = Cluster("never")
    cluster.step(events.NodeJoined("no-local", LOCAL), 0.0)
    pools = [pool("cheap", cloud="aws", region="north"), pool("plain", gpus=0)]
    assert servable(asked, cluster.nodes.values(), pools) == sentence
