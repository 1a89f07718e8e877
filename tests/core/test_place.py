"""Placing: which nodes fit a container, which of them is better, and what can never be placed."""

from __future__ import annotations

import pytest

from inrush.core.model.containers import Container
from inrush.core.model.nodes import Node
from inrush.core.model.wanted import Placement, Wanted, accepts, wanted
from inrush.core.place.index import Index
from inrush.core.place.never import can_ever
from inrush.wire import FunctionSpec, Gpu, GpuRequest, Inventory, Resources


def node(name: str, gpus: str = "", cpu: float = 8, memory_mib: int = 8000, region: str = "", cloud: str = "") -> Node:
    """`gpus` such as "A10G:2,T4:1"."""
    devices = [
        Gpu(type=kind, index=index, declared=True)
        for kind, count in (part.split(":") for part in gpus.split(",") if part)
        for index in range(int(count))
    ]
    inventory = Inventory(cpu=cpu, memory_mib=memory_mib, gpus=tuple(devices), region=region, cloud=cloud)
    return Node(name, int(name.rsplit("-", 1)[1]), inventory)


def spec(
    gpu: str = "", cpu: float = 1, memory_mib: int = 100, region: tuple[str, ...] = (), cloud: str = ""
) -> FunctionSpec:
    requests = tuple(
        GpuRequest(type=part.partition(":")[0], count=int(part.partition(":")[2] or 1))
        for part in gpu.split(",")
        if part
    )
    resources = Resources(cpu=cpu, memory_mib=memory_mib, gpu=requests)
    return FunctionSpec(name="f", resources=resources, region=region, cloud=cloud)


def places(wanted_spec: FunctionSpec, nodes: list[Node], count: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Up to `count` placements, each claimed."""
    index, seats = Index(), {}
    for each in nodes:
        index.add(each)
    want = wanted("fn", wanted_spec, seats)
    found = []
    for number in range(count):
        placement = index.find(want)
        if placement is None:
            break
        assert placement.why
        by_name = {n.id: n for n in nodes}
        seats[placement.node] = seats.get(placement.node, 0) + 1
        by_name[placement.node].seat(seated(number, want, placement))
        found.append((placement.node, placement.gpu_type, placement.gpus))
    return found


def seated(number: int, want: Wanted, placement: Placement) -> Container:
    return Container(
        f"co-{number}",
        want.function,
        placement.node,
        want.cpu_milli,
        want.memory_mib,
        placement.gpu_type,
        placement.gpus,
        0.0,
        share_milli=placement.share_milli,
    )


@pytest.mark.parametrize(
    ("request_type", "satisfied_by"),
    [
        ("A100", {"A100", "A100-40GB", "A100-80GB"}),
        ("A100-80GB", {"A100-80GB"}),
        ("A10G", {"A10G"}),
        ("ANY", {"A100", "A100-40GB", "A100-80GB", "A10G", "H100"}),
    ],
)
def test_which_devices_satisfy_a_request(request_type: str, satisfied_by: set[str]) -> None:
    types = {"A100", "A100-40GB", "A100-80GB", "A10G", "H100"}
    assert {t for t in types if accepts(GpuRequest(type=request_type), t)} == satisfied_by


def test_devices_are_exclusive_and_run_out() -> None:
    found = places(spec("A10G"), [node("no-1", "A10G:2"), node("no-2", "A10G:1")], 5)
    assert sorted((where, gpus) for where, _, gpus in found) == [("no-1", (0,)), ("no-1", (1,)), ("no-2", (0,))]


def test_whole_nodes_stay_whole_for_those_who_want_many() -> None:
    nodes = [node("no-1", "A10G:8"), node("no-2", "A10G:8")]
    assert {where for where, _, _ in places(spec("A10G"), nodes, 4)} == {"no-1"}
    assert places(spec("A10G:8"), nodes, 1) == [("no-2", "A10G", tuple(range(8)))]


def test_containers_without_gpus_keep_off_nodes_with_gpus_and_spread() -> None:
    nodes = [node("no-1", "A10G:8"), node("no-2"), node("no-3")]
    assert [where for where, _, _ in places(spec(), nodes, 4)] == ["no-2", "no-3", "no-2", "no-3"]
    assert "no-1" in {where for where, _, _ in places(spec(cpu=8), nodes, 3)}


def test_the_list_of_types_is_an_order_of_preference() -> None:
    nodes = [node("no-1", "T4:1"), node("no-2", "A100-80GB:1,A100:1")]
    found = places(spec("A100,T4"), nodes, 4)
    assert found == [("no-2", "A100", (0,)), ("no-2", "A100-80GB", (0,)), ("no-1", "T4", (0,))]


def test_who_asks_for_any_of_a_family_does_not_take_its_largest_while_there_is_another() -> None:
    nodes = [node("no-1", "A100-80GB:1"), node("no-2", "A100-40GB:2"), node("no-3", "A100:1")]
    found = [gpu_type for _, gpu_type, _ in places(spec("A100"), nodes, 9)]
    assert found == ["A100", "A100-40GB", "A100-40GB", "A100-80GB"]


def test_devices_of_one_container_are_of_one_type() -> None:
    assert places(spec("ANY:2"), [node("no-1", "T4:1,A10G:1")], 1) == []
    assert places(spec("A100:2"), [node("no-1", "A100-40GB:1,A100-80GB:2")], 1) == [("no-1", "A100-80GB", (0, 1))]


def test_cpu_and_memory_are_not_given_twice() -> None:
    assert len(places(spec(cpu=0.125), [node("no-1", cpu=2)], 100)) == 16
    assert len(places(spec(cpu=0.001, memory_mib=1000), [node("no-1", memory_mib=3500)], 100)) == 3


def test_region_and_cloud_are_heeded() -> None:
    nodes = [node("no-1", region="us"), node("no-2", region="eu", cloud="aws")]
    assert [where for where, _, _ in places(spec(region=("eu", "asia")), nodes, 1)] == ["no-2"]
    assert places(spec(cloud="gcp"), nodes, 1) == []
    assert "gcp" in (can_ever(spec(cloud="gcp").resources, nodes, spec(cloud="gcp")) or "")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (spec("H100"), "no node has H100; there is A10G, T4"),
        (spec("A10G:4"), "no node has 4 A10G; the largest has 2"),
        (spec("H100,A10G:4"), "no node has H100; there is A10G, T4; no node has 4 A10G; the largest has 2"),
        (spec(cpu=64), "no node has 64 cpu; the largest has 8"),
        (spec(memory_mib=10**6), "no node has 1000000 MiB of memory; the largest has 8000"),
        (spec("T4", cpu=8), "no node has 8 cpu; the largest has 4"),
        (spec("H100,A10G"), None),
        (spec("ANY"), None),
        (spec(), None),
    ],
)
def test_what_can_never_be_is_said_so(asked: FunctionSpec, sentence: str | None) -> None:
    nodes = [node("no-1", "A10G:2"), node("no-2", "T4:1", cpu=4)]
    places(spec("ANY"), nodes, 3)
    assert can_ever(asked.resources, nodes, asked) == sentence


def test_as_long_as_no_node_has_joined_anything_may_still_be() -> None:
    assert can_ever(spec("H100").resources, []) is None
