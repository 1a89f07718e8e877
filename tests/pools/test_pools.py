"""Which nodes are ordered, where, and when they are given back; and providers that bring them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from inrush.core.cluster import Cluster
from inrush.core.model import effects, events
from inrush.core.model.pools import Pool
from inrush.core.pools.orders import Backlog, Demand, deserved, lives_s, plan, serving
from inrush.pools.provider import Offer, Provider
from inrush.pools.simulated import SimulatedPool
from inrush.pools.static import StaticPool
from inrush.wire import FunctionSpec, Gpu, GpuRequest, Inventory, Resources, ScalePolicy


def inventory(gpu_type: str = "A100", gpus: int = 8, cpu: float = 64.0, **where: str) -> Inventory:
    """Of a node."""
    devices = tuple(Gpu(type=gpu_type, index=index, declared=True) for index in range(gpus))
    return Inventory(cpu=cpu, memory_mib=65536, gpus=devices, **where)


def pool(name: str, price: float = 1.0, nodes_max: int = 10, **has: object) -> Pool:
    """An empty one."""
    return Pool(name, 0, inventory(**has), nodes_max, price, 90.0, None, 0)  # type: ignore[arg-type]


def spec(*gpu: GpuRequest, **more: object) -> FunctionSpec:
    """A function that wants one of these."""
    return FunctionSpec(name="f", resources=Resources(gpu=gpu or (GpuRequest(type="A100"),)), **more)  # type: ignore[arg-type]


def ordered(demand: Demand, *pools: Pool, now: float = 0.0) -> dict[str, int]:
    """How many nodes of which pool."""
    return {order.pool.id: order.nodes for order in plan([demand], pools, now)}


def want(containers: int, of: FunctionSpec | None = None) -> Demand:
    """So many containers more."""
    return Demand("fn", of or spec(), containers, "many wait")


def test_what_has_run_without_a_result_is_expected_to_run_on_but_not_past_its_timeout() -> None:
    assert lives_s(0.0, 300.0) == 0.0
    assert lives_s(10.0, 300.0) == pytest.approx(10 * (1 + 3.4012), rel=1e-4)
    assert lives_s(300.0, 300.0) == 300.0
    assert lives_s(400.0, 300.0) == 400.0, "grace and clean-up come on top of a timeout"


def test_the_cheapest_pool_that_can_serve_is_asked_first() -> None:
    pools = pool("dear", 20), pool("cheap", 8), pool("other", 1, gpu_type="H100")
    assert ordered(want(16), *pools) == {"cheap": 2}


def test_what_a_container_costs_decides_not_what_a_node_does() -> None:
    assert ordered(want(8), pool("small", 2.0, gpus=1), pool("large", 8.0, gpus=8)) == {"large": 1}


def test_what_one_pool_cannot_give_is_ordered_from_the_next_and_the_why_says_so() -> None:
    (first, second) = plan([want(40)], [pool("cheap", 8, nodes_max=3), pool("dear", 20)], 0.0)
    assert [(order.pool.id, order.nodes) for order in (first, second)] == [("cheap", 3), ("dear", 2)]
    assert "cheap has room for 3 more only" in second.why
    full = pool("cheap", 8, nodes_max=0)
    (order,) = plan([want(8)], [full, pool("dear", 20)], 0.0)
    assert "cheap is at its maximum" in order.why


def test_a_pool_that_had_none_is_passed_over_for_a_while() -> None:
    out = pool("cheap", 8)
    out.blocked_until, out.blocked_why = 60.0, "could not: stocked out"
    (order,) = plan([want(8)], [out, pool("dear", 20)], 10.0)
    assert (order.pool.id, "cheap could not: stocked out" in order.why) == ("dear", True)
    assert ordered(want(8), out, pool("dear", 20), now=61.0) == {"cheap": 1}


def test_nodes_on_their_way_are_counted_before_more_are_ordered() -> None:
    coming = pool("cheap")
    coming.expect(2, 0.0)
    assert ordered(want(16), coming) == {}
    assert ordered(want(17), coming) == {"cheap": 1}


def test_nodes_of_one_order_are_shared_by_those_who_wait() -> None:
    demands = [want(4), want(4)]
    assert [order.nodes for order in plan(demands, [pool("cheap")], 0.0)] == [1]


def test_cloud_region_and_the_order_of_gpus_are_heeded() -> None:
    north, south = pool("north", 1, cloud="one", region="north"), pool("south", 9, cloud="two", region="south")
    assert ordered(want(1, spec(region=("south",))), north, south) == {"south": 1}
    assert ordered(want(1, spec(cloud="one")), north, south) == {"north": 1}
    liked = spec(GpuRequest(type="H100"), GpuRequest(type="A100"))
    assert ordered(want(1, liked), pool("a", 1), pool("h", 50, gpu_type="H100")) == {"h": 1}


@pytest.mark.parametrize(
    ("request_", "each"),
    [
        (GpuRequest(type="A100"), 8),
        (GpuRequest(type="A100", count=3), 2),
        (GpuRequest(type="A100", share=0.25), 32),
        (GpuRequest(type="ANY"), 8),
    ],
)
def test_a_node_takes_as_many_containers_as_its_devices_allow(request_: GpuRequest, each: int) -> None:
    assert [count for _, count in serving(spec(request_), [pool("p", cpu=1000.0)])] == [each]
    assert list(serving(spec(GpuRequest(type="A100", count=9)), [pool("p")])) == []


def test_a_backlog_is_worth_the_nodes_that_drain_it_while_a_node_comes() -> None:
    assert deserved(Backlog(queued=9000, service_s=1.0), 90.0)[0] == 100
    assert deserved(Backlog(queued=10_000, service_s=0.001), 90.0)[0] == 0
    assert deserved(Backlog(queued=100, growth=10.0, service_s=5.0), 90.0)[0] == 55
    assert deserved(Backlog(queued=100, growth=-10.0, service_s=5.0), 90.0)[0] == 0


def test_orders_run_ahead_of_what_waits_by_a_quarter_at_most() -> None:
    assert deserved(Backlog(queued=100, growth=1000.0, service_s=60.0), 90.0)[0] == 125
    assert deserved(Backlog(queued=100, growth=1000.0, service_s=60.0, target=4), 90.0)[0] == 32


def test_one_container_is_ordered_for_to_find_out_and_for_who_starves() -> None:
    assert deserved(Backlog(queued=10_000), 90.0)[0] == 1
    assert deserved(Backlog(queued=1, service_s=0.1, waited_s=100.0), 90.0)[0] == 1
    assert deserved(Backlog(queued=0, service_s=1.0), 90.0)[0] == 0


class Told:
    """A core with a pool, its clock, and what it asked for."""

    def __init__(self, **offer: object) -> None:
        self.cluster, self.now, self.out = Cluster("pools"), 0.0, list[effects.Effect]()
        given = {"pool": "cloud", "inventory": inventory(gpus=2), "nodes_max": 4, "node_s": 10.0, "keep_s": 30.0}
        self.step(events.PoolJoined(**(given | offer)))  # type: ignore[arg-type]

    def step(self, event: events.Event) -> None:
        self.out += self.cluster.step(event, self.now)

    def until(self, at: float) -> None:
        """Ticks, a second each."""
        while self.now < at:
            self.now += 1.0
            self.step(events.Tick())

    def of(self, kind: type) -> list[effects.Effect]:
        found = [effect for effect in self.out if isinstance(effect, kind)]
        self.out = [effect for effect in self.out if not isinstance(effect, kind)]
        return found


def waiting(told: Told, **scale: int) -> None:
    """A function that wants a GPU, with one call."""
    told.step(events.FunctionAdded("fn-1", "app", msgspec.structs.replace(spec(), scale=ScalePolicy(**scale))))
    told.step(events.CallArrived("ca-1", "fn-1", "remote", 1))
    told.step(events.InputsArrived("ca-1", 0, 1))


def test_without_any_node_a_first_call_orders_one() -> None:
    told = Told()
    waiting(told)
    (order,) = told.of(effects.NodesWanted)
    assert isinstance(order, effects.NodesWanted)
    assert (order.pool, order.count) == ("cloud", 1)
    told.until(5)
    assert told.of(effects.NodesWanted) == []
    assert told.cluster.violations() == []


def test_a_minimum_is_reason_enough() -> None:
    told = Told()
    told.step(events.FunctionAdded("fn-1", "app", msgspec.structs.replace(spec(), scale=ScalePolicy(min_containers=5))))
    assert [order.count for order in told.of(effects.NodesWanted)] == [3]  # type: ignore[attr-defined]


def test_an_order_that_fails_goes_to_the_next_pool_at_once() -> None:
    told = Told()
    told.step(events.PoolJoined("dear", inventory(gpus=2), 4, price=9.0, node_s=10.0))
    waiting(told)
    told.of(effects.NodesWanted)
    told.step(events.NodesFailed("cloud", 1, "stocked out", 60.0))
    (order,) = told.of(effects.NodesWanted)
    assert isinstance(order, effects.NodesWanted)
    assert order.pool == "dear"
    assert "stocked out" in order.why


def test_a_node_that_comes_is_used_and_given_back_when_it_stood_empty_for_long_enough() -> None:
    told = Told()
    waiting(told)
    told.now = 10.0
    told.step(events.NodeJoined("no-1", inventory(gpus=2), pool="cloud"))
    (start,) = told.of(effects.StartContainer)
    assert isinstance(start, effects.StartContainer)
    told.step(events.ContainerReady(start.container, "test", 1.0))
    told.step(events.AttemptsEnded(start.container, "ca-1", (0,), (0,), (None,)))
    while not (stops := told.of(effects.StopContainer)):
        told.until(told.now + 1)
        assert told.now < 200
    assert told.of(effects.NodesReleased) == []
    told.step(events.ContainerEnded(stops[0].container, 0, "stopped"))  # type: ignore[attr-defined]
    empty_since = told.now
    while not (released := told.of(effects.NodesReleased)):
        told.until(told.now + 1)
        assert told.now < 300
    assert released == [effects.NodesReleased("cloud", ("no-1",), "empty for 30 s")]
    assert 30 <= told.now - empty_since <= 34
    assert dict(told.cluster.nodes) == {}
    assert told.cluster.violations() == []


def test_the_least_number_of_nodes_stays() -> None:
    told = Told(nodes_min=1)
    for number in (1, 2):
        told.step(events.NodeJoined(f"no-{number}", inventory(gpus=2), pool="cloud"))
    told.until(120)
    assert [effect.nodes for effect in told.of(effects.NodesReleased)] == [("no-1",)]  # type: ignore[attr-defined]
    assert list(told.cluster.nodes) == ["no-2"]


def test_a_declared_pool_brings_nothing_and_says_how_more_would_come() -> None:
    posted: list[events.Event] = []
    provider: Provider = StaticPool(Offer("rack", inventory(), 4), posted.append)
    provider.order(3)
    provider.release(["no-1"])
    told = Told(pool="rack", nodes_max=1, nodes_min=provider.offer.nodes_min)
    for number in (1, 2):
        told.step(events.NodeJoined(f"no-{number}", inventory(gpus=2), pool="rack"))
    told.until(120)
    assert list(told.cluster.nodes) == ["no-1", "no-2"], "they stay, however long they are empty"
    (failed,) = posted
    assert isinstance(failed, events.NodesFailed)
    assert (failed.pool, failed.count) == ("rack", 3)
    assert "start an agent" in failed.why


class Clock:
    """Things to be done later."""

    def __init__(self) -> None:
        self.now, self.due = 0.0, list[tuple[float, Callable[[], None]]]()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.due.append((self.now + seconds, action))

    def run(self) -> None:
        while self.due:
            self.due.sort(key=lambda item: item[0])
            self.now, action = self.due.pop(0)
            action()


def test_a_made_up_pool_brings_nodes_in_their_time_up_to_its_most_and_none_while_it_is_stocked_out() -> None:
    clock, posted, booted = Clock(), list[events.Event](), list[tuple[float, str]]()
    provider = SimulatedPool(
        Offer("cloud", inventory(), 3),
        posted.append,
        clock.after,
        boot=lambda node: booted.append((clock.now, node)),
        node_s=lambda node: 90.0,
        stocked_out=lambda: clock.now > 1000,
    )
    provider.order(5)
    clock.run()
    assert booted == [(90.0, f"no-cloud-{number}") for number in (1, 2, 3)]
    assert [event.count for event in posted] == [2]  # type: ignore[attr-defined]
    provider.release(["no-cloud-1"])
    provider.order(1)
    clock.run()
    assert len(booted) == 4
    clock.now = 2000.0
    provider.release(["no-cloud-2"])
    provider.order(1)
    clock.run()
    assert len(booted) == 4
    assert len(posted) == 2
