"""Functions that compute get as many containers as processors can serve, and others as many as ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inrush.core.cluster import Cluster
from inrush.core.model import effects, events
from inrush.core.model.measured import UNBOUNDED, Measured, Memo
from inrush.core.place.crowd import Room
from inrush.core.scale.desired import Load, desired
from inrush.wire import FunctionSpec, Gpu, GpuRequest, Inventory, Resources, ScalePolicy, Status

NODE = Inventory(cpu=2, cpu_overcommit=16, memory_mib=64_000, gpus=tuple(Gpu(type="A10G", index=i) for i in range(8)))


class Told:
    """A cluster of one node of two cores that measures, its clock, and what it asked for."""

    def __init__(self) -> None:
        self.cluster, self.now, self.out = Cluster("test"), 0.0, list[effects.Effect]()
        self.step(events.NodeJoined("no-1", NODE))
        self.step(events.CpuUsed("no-1"))

    def step(self, event: events.Event) -> None:
        self.out += self.cluster.step(event, self.now)
        assert self.cluster.violations() == []

    def function(self, name: str = "f", count: int = 100, gpu: bool = False, **scale: int) -> None:
        """A function whose inputs wait."""
        resources = Resources(cpu=0.125, memory_mib=64, gpu=(GpuRequest(type="A10G"),) if gpu else ())
        self.step(
            events.FunctionAdded(name, "ap", FunctionSpec(name=name, scale=ScalePolicy(**scale), resources=resources))
        )
        self.step(events.CallArrived(f"ca-{name}", name, "map", count))
        self.step(events.InputsArrived(f"ca-{name}", 0, count))

    def use(self, serving: float, name: str = "f") -> None:
        self.step(events.CpuUsed("no-1", ((name, serving, -1.0, -1.0),)))

    def passes(self, seconds: float, node: str = "") -> None:
        """Time passes, and what starts (on a node) becomes ready."""
        until = self.now + seconds
        while self.now < until:
            self.now += 0.01
            self.step(events.Tick())
            for container in list(self.cluster.containers.values()):
                if container.state == "starting" and container.node.startswith(node):
                    self.step(events.ContainerReady(container.id, "fork", 5.0))

    def end_one_each(self, name: str = "f") -> None:
        """Every container ends what it runs first."""
        for container in list(self.cluster.functions[name].containers.values()):
            for call in list(container.calls):
                index = next(i for i, a in self.cluster.calls[call].running.items() if a.container is container)
                self.step(events.AttemptsEnded(container.id, call, (index,), (int(Status.OK),), (None,)))

    def live(self, name: str = "f") -> int:
        return self.cluster.functions[name].live

    def of(self, kind: type[effects.Effect]) -> list[effects.Effect]:
        return [effect for effect in self.out if isinstance(effect, kind)]


@given(st.floats(0.001, 64), st.floats(0.001, 64), st.floats(0.5, 256))
def test_the_more_a_container_uses_the_fewer_are_served_and_always_one(use: float, more: float, cores: float) -> None:
    less, most = Measured(use=use + more).at_once(cores), Measured(use=use).at_once(cores)
    assert 1 <= less <= most <= UNBOUNDED
    if use >= 0.5:
        assert most * use <= max(1.25 * cores, use), "no more than the processors have, and a quarter"
    if use <= 0.05 and cores >= 1:
        assert most >= 2500, "what waits is as good as unbounded"


loads = st.builds(
    Load,
    valid=st.just(True),
    idle=st.just(0),
    rate=st.just(0.0),
    queued=st.integers(0, 10**5),
    running=st.integers(0, 10**4),
    starting=st.integers(0, 100),
    ready=st.integers(0, 100),
    service_s=st.none() | st.floats(0.0001, 1000),
    start_s=st.none() | st.floats(0.0001, 1000),
    stall_s=st.floats(0, 1000),
    slope=st.just(0.0),
    starting_mean_s=st.just(0.0),
    starting_s=st.floats(0, 1000),
    room=st.builds(
        Room, serving=st.none() | st.integers(1, 50), starting=st.none() | st.integers(1, 50), unseen=st.none()
    ),
)


@given(loads)
def test_no_more_is_wanted_than_is_served_and_never_none(load: Load) -> None:
    decision, _ = desired(load, ScalePolicy(), Memo(), 0.0)
    free, _ = desired(load._replace(room=Room()), ScalePolicy(), Memo(), 0.0)
    assert decision.wanted <= free.wanted
    assert decision.wanted >= min(1, free.wanted)
    if load.room.serving is not None:
        assert decision.wanted <= load.room.serving
    assert bool(decision.held_back) == (decision.wanted < free.wanted)


def test_the_policys_minimum_and_buffer_hold_where_the_processors_are_busy() -> None:
    told = Told()
    told.function(min_containers=9, buffer_containers=3)
    told.use(1.0)
    told.passes(1.0)
    assert 9 <= told.live() <= 12, "the minimum and the buffer, and no more"
    assert desired(Load(queued=50, room=Room(serving=2)), ScalePolicy(buffer_containers=3), Memo(), 0.0)[0].wanted == 5


def test_a_function_with_gpus_is_not_bounded() -> None:
    told = Told()
    told.function(gpu=True)
    told.use(1.0)
    told.passes(2.0)
    assert told.live() == 8


def test_without_a_node_that_measures_nothing_changes() -> None:
    told = Told()
    told.cluster = Cluster("test")
    told.step(events.NodeJoined("no-1", NODE))
    told.function()
    told.passes(3.0)
    assert told.live() > 20


def test_what_is_never_measured_is_not_held_back_for_long() -> None:
    told = Told()
    told.function()
    told.passes(0.12)
    assert told.live() == 2
    told.passes(3.0)
    assert told.live() > 20


def test_containers_that_turn_out_to_compute_are_drained() -> None:
    told = Told()
    told.function(count=1000)
    told.use(0.01)
    told.passes(3.0)
    many = told.live()
    assert many > 20
    told.end_one_each()
    told.use(1.0)
    told.passes(0.1)
    told.end_one_each()
    told.passes(0.1)
    assert told.live() == 2
    assert "the processors serve 2 at once" in "".join(effect.why for effect in told.of(effects.StopContainer))  # type: ignore[attr-defined]


def test_one_container_more_comes_when_nothing_ends_for_long() -> None:
    told = Told()
    told.function()
    told.passes(0.1)
    told.use(1.0)
    told.passes(9.0)
    assert told.live() == 2
    told.passes(2.0)
    assert told.live() == 3
    told.passes(11.0)
    assert told.live() == 4, "and another one, so that an input which waits for others in a loop does not wait for ever"


def test_nodes_are_ordered_for_what_those_that_are_there_cannot_serve() -> None:
    told = Told()
    told.step(events.PoolJoined("cloud", NODE, 3, node_s=2.0))
    told.function("idle", count=1)
    told.passes(0.05)
    told.end_one_each("idle")
    told.function(count=1000)
    told.passes(0.1)
    told.use(1.0)
    told.passes(1.0)
    told.end_one_each()
    told.passes(5.0)
    assert told.cluster.functions["f"].seats == {"no-1": 2}
    assert told.of(effects.NodesWanted)
    assert "the processors of its nodes are busy" in told.cluster.explain("f")[-1]
    assert not [s for s in told.of(effects.StopContainer) if "waits for its place" in s.why]  # type: ignore[attr-defined]
    told.step(events.NodeJoined("no-2", NODE, pool="cloud"))
    told.passes(0.5)
    assert told.cluster.functions["f"].seats == {"no-1": 2, "no-2": 2}


def test_numbers_that_are_no_measurement_are_passed_over() -> None:
    told = Told()
    told.function()
    for wrong in (float("nan"), float("inf"), -1.0, 1e9):
        told.step(events.CpuUsed("no-1", (("f", wrong, wrong, wrong), ("unknown", 1.0, 1.0, 1.0))))
    measured = told.cluster.functions["f"].measured
    assert (measured.use, measured.start_use, measured.start_cpu_s) == (None, None, 0.0)
