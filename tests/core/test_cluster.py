"""The cluster's contract where a script would not show it: what is stale or repeated, restarts, and repeatability."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import msgspec

from inrush.core.cluster import HANDLERS, Cluster
from inrush.core.model import effects, events
from inrush.wire import FunctionSpec, Gpu, GpuRequest, Inventory, Resources, Retries, ScalePolicy, Status

NODE = Inventory(cpu=64, memory_mib=64_000, gpus=tuple(Gpu(type="A10G", index=i) for i in range(8)))


def started(out: list[effects.Effect]) -> list[str]:
    return [effect.container for effect in out if isinstance(effect, effects.StartContainer)]


def kinds(out: list[effects.Effect]) -> list[str]:
    return [type(effect).__name__ for effect in out]


def warm(slots: int = 4, containers: int = 1, retries: int = 0) -> tuple[Cluster, list[str]]:
    """A cluster with ready containers of one function."""
    cluster = Cluster("test")
    cluster.step(events.NodeJoined("no-1", NODE), 0.0)
    scale = ScalePolicy(min_containers=containers, max_containers=containers, max_inputs=slots)
    spec = FunctionSpec(name="f", scale=scale, retries=Retries(max_retries=retries, initial_delay_s=0.0))
    ids = started(cluster.step(events.FunctionAdded("fn-1", "ap-1", spec), 0.0))
    for container in ids:
        cluster.step(events.ContainerReady(container, "fork", 5.0), 0.0)
    return cluster, ids


def call(cluster: Cluster, name: str, count: int, kind: str = "map") -> list[effects.Effect]:
    cluster.step(events.CallArrived(name, "fn-1", kind, count), 0.0)
    return cluster.step(events.InputsArrived(name, 0, count), 0.0)


def ended(container: str, name: str, *indexes: int, status: Status = Status.OK) -> events.AttemptsEnded:
    return events.AttemptsEnded(
        container, name, indexes, (int(status),) * len(indexes), tuple(f"r{i}" for i in indexes)
    )


def test_every_event_has_a_handler() -> None:
    assert set(HANDLERS) == set(events.AnyEvent.__args__)


def test_a_warm_call_is_dispatched_in_the_step_in_which_it_arrives() -> None:
    cluster, (container,) = warm()
    assert kinds(call(cluster, "ca-1", 3)) == ["Dispatch"]
    out = cluster.step(ended(container, "ca-1", 0, 1, 2), 0.1)
    resolve = next(effect for effect in out if isinstance(effect, effects.Resolve))
    assert (resolve.indexes, resolve.statuses, resolve.refs) == ((0, 1, 2), (0, 0, 0), ("r0", "r1", "r2"))
    assert not cluster.calls, "a call that is done is dropped from memory"


def test_the_same_call_and_the_same_inputs_again_change_nothing() -> None:
    cluster, (container,) = warm()
    call(cluster, "ca-1", 6)
    cluster.step(ended(container, "ca-1", 0), 0.1)
    assert kinds(call(cluster, "ca-1", 6)) == []
    assert cluster.stats("fn-1") == {"backlog": 1, "containers": 1, "running_inputs": 4, "input_headroom": 0}


def test_a_result_counts_once_and_only_from_where_the_input_runs() -> None:
    cluster, (first, second) = warm(slots=1, containers=2)
    out = call(cluster, "ca-1", 2)
    runs = {effect.indexes[0]: effect.container for effect in out if isinstance(effect, effects.Dispatch)}
    other = {first: second, second: first}[runs[0]]
    assert cluster.step(ended(other, "ca-1", 0), 0.1) == []
    assert cluster.step(ended("co-unknown", "ca-1", 0), 0.1) == []
    assert "Resolve" in kinds(cluster.step(ended(runs[0], "ca-1", 0, 0), 0.1))
    assert "Resolve" not in kinds(cluster.step(ended(runs[0], "ca-1", 0), 0.1))
    assert cluster.violations() == []


def test_an_input_tried_again_elsewhere_takes_no_result_from_where_it_was_lost() -> None:
    cluster, (first,) = warm(slots=1)
    call(cluster, "ca-1", 1)
    (second,) = started(cluster.step(events.ContainerEnded(first, int(Status.LOST), "gone"), 0.1))
    cluster.step(events.ContainerReady(second, "fork", 5.0), 0.2)
    assert cluster.step(ended(first, "ca-1", 0), 0.3) == []
    assert "Resolve" in kinds(cluster.step(ended(second, "ca-1", 0), 0.4))


def test_mixed_ends_in_one_event_go_their_own_ways() -> None:
    cluster, (container,) = warm(slots=4, retries=1)
    call(cluster, "ca-1", 4)
    statuses = (Status.OK, Status.ERROR, Status.OK, Status.CANCELLED)
    event = events.AttemptsEnded(container, "ca-1", (0, 1, 2, 3), tuple(map(int, statuses)), ("a", "b", "c", "d"))
    out = cluster.step(event, 0.1)
    resolve = next(effect for effect in out if isinstance(effect, effects.Resolve))
    assert (resolve.indexes, resolve.refs) == ((0, 2, 3), ("a", "c", "d"))
    again = next(effect for effect in out if isinstance(effect, effects.Dispatch))
    assert again.indexes == (1,)


def test_an_input_whose_containers_die_while_others_run_is_given_up_at_last() -> None:
    cluster, (container,) = warm(slots=2)
    call(cluster, "ca-1", 2)
    now, rounds = 0.0, 0
    while cluster.calls:
        now += 100.0
        rounds += 1
        out = cluster.step(events.ContainerEnded(container, int(Status.OUT_OF_MEMORY), "killed"), now)
        fresh = started(out)
        if fresh:
            container = fresh[0]
            cluster.step(events.ContainerReady(container, "fork", 5.0), now)
    assert rounds == 4, "twice together, then each alone"
    assert cluster.violations() == []


def test_what_a_restart_finds_in_rows_runs_on() -> None:
    cluster = Cluster("test")
    function = events.FunctionAdded(
        "fn-1", "ap-1", FunctionSpec(name="f", scale=ScalePolicy(max_inputs=8)), durable=True
    )
    half = (events.CallArrived("ca-1", "fn-1", "spawn", 6, durable=True), ((1, 2), (4, 6)))
    whole = (events.CallArrived("ca-2", "fn-1", "spawn", 2, durable=True), ())
    out = cluster.step(events.Restored((function,), (half, whole)), 0.0)
    assert "StartContainer" not in kinds(out)
    assert list(cluster.calls) == ["ca-1"]
    (container,) = started(cluster.step(events.NodeJoined("no-1", NODE, ("co-old",)), 1.0))
    out = cluster.step(events.ContainerReady(container, "fork", 5.0), 2.0)
    runs = [effect.indexes for effect in out if isinstance(effect, effects.Dispatch)]
    assert sorted(index for indexes in runs for index in indexes) == [1, 4, 5]
    cluster.step(ended(container, "ca-1", 1, 4, 5), 3.0)
    assert not cluster.calls


def test_a_container_that_nobody_knows_is_stopped_when_its_node_joins() -> None:
    cluster = Cluster("test")
    (stop,) = cluster.step(events.NodeJoined("no-1", NODE, ("co-stray",)), 0.0)
    assert isinstance(stop, effects.StopContainer)
    assert (stop.container, stop.kill) == ("co-stray", True)


def test_a_node_that_links_again_keeps_the_containers_that_both_sides_know() -> None:
    cluster, (first, second) = warm(slots=1, containers=2)
    call(cluster, "ca-1", 2)
    out = cluster.step(events.NodeJoined("no-1", NODE, (second,)), 1.0)
    assert first not in cluster.containers
    assert second in cluster.containers
    assert len(started(out)) == 1
    assert cluster.violations() == []


def test_calls_for_a_function_that_is_gone_end_as_cancelled() -> None:
    cluster = Cluster("test")
    out = call(cluster, "ca-1", 2)
    (resolve,) = [effect for effect in out if isinstance(effect, effects.Resolve)]
    assert resolve.statuses == (Status.CANCELLED,) * 2
    assert "fn-1" in resolve.why
    assert not cluster.calls


def test_a_clock_that_goes_back_is_held_still() -> None:
    cluster, (container,) = warm(slots=1)
    call(cluster, "ca-1", 1)
    cluster.step(events.Tick(), 100.0)
    cluster.step(ended(container, "ca-1", 0), 50.0)
    assert cluster.functions["fn-1"].measured.service_s == 100.0


def test_two_functions_with_calls_take_turns_on_one_gpu_to_the_end() -> None:
    cluster = Cluster("test")
    cluster.step(events.NodeJoined("no-1", Inventory(cpu=8, memory_mib=8000, gpus=(Gpu(type="A10G", index=0),))), 0.0)
    spec = FunctionSpec(name="f", resources=Resources(gpu=(GpuRequest(type="A10G"),)))
    out: list[effects.Effect] = []
    for number in (1, 2):
        cluster.step(events.FunctionAdded(f"fn-{number}", f"ap-{number}", spec), 0.0)
        cluster.step(events.CallArrived(f"ca-{number}", f"fn-{number}", "remote", 1), 0.0)
        out += cluster.step(events.InputsArrived(f"ca-{number}", 0, 1), 0.0)
    now = 0.0
    while out:
        now += 0.01
        effect = out.pop(0)
        match effect:
            case effects.StartContainer():
                out += cluster.step(events.ContainerReady(effect.container, "fork", 5.0), now)
            case effects.Dispatch():
                out += cluster.step(ended(effect.container, effect.call, *effect.indexes), now)
            case effects.StopContainer():
                out += cluster.step(events.ContainerEnded(effect.container, int(Status.OK), "stopped"), now)
    assert not cluster.calls
    assert now < 1.0, "long before scaledown_window_s was over"


def test_events_and_effects_can_be_written_down_and_read_back() -> None:
    spec = FunctionSpec(name="f", retries=Retries(max_retries=1))
    some: list[events.Event] = [
        events.FunctionAdded("fn-1", "ap-1", spec),
        events.NodeJoined("no-1", NODE, ("co-1",)),
        events.AttemptsEnded("co-1", "ca-1", (0, 1), (0, 1), (None, None)),
        events.Tick(),
    ]
    packed = msgspec.msgpack.encode(some)
    assert msgspec.msgpack.decode(packed, type=list[events.AnyEvent]) == some


def digest() -> str:
    """Of everything decided in a small world of many functions, calls and losses."""
    from inrush.sim.scenario import load
    from inrush.sim.world import World

    world = World(msgspec.structs.replace(load("lost_nodes"), end_s=40.0), 3)
    world.run()
    said = "\n".join(line for function in world.cluster.functions for line in world.cluster.explain(function))
    return world.tally.digest + hashlib.sha256(said.encode()).hexdigest()


def test_two_hash_seeds_give_the_same_decisions() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); from core.test_cluster import digest; print(digest())"
    here = os.path.dirname(os.path.dirname(__file__))
    found = set()
    for hash_seed in ("1", "2"):
        environ = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", code, here], env=environ, capture_output=True, text=True, check=True
        )
        found.add(done.stdout.strip())
    assert len(found) == 1
    assert len(found.pop()) == 32 + 64


def test_containers_beyond_what_one_step_may_place_are_carried_over() -> None:
    cluster = Cluster("test")
    cluster.step(events.NodeJoined("no-1", NODE), 1.0)
    spec = FunctionSpec(name="f", scale=ScalePolicy(min_containers=150))
    counts = []
    out = cluster.step(events.FunctionAdded("fn-1", "ap-1", spec), 1.0)
    while started(out):
        counts.append(len(started(out)))
        wakes = [effect.at for effect in out if isinstance(effect, effects.WakeAt)]
        assert sum(counts) == 150 or wakes == [1.0]
        out = cluster.step(events.Tick(), 1.0)
    assert sum(counts) == 150
    assert max(counts) < 100


def test_starts_that_fail_together_count_as_one_failure() -> None:
    cluster = Cluster("test")
    cluster.step(events.NodeJoined("no-1", NODE), 0.0)
    spec = FunctionSpec(name="f", scale=ScalePolicy(min_containers=8))
    for container in started(cluster.step(events.FunctionAdded("fn-1", "ap-1", spec), 0.0)):
        cluster.step(events.ContainerEnded(container, int(Status.CRASHED), "boom"), 0.1)
    assert cluster.functions["fn-1"].trouble.failures == 1
    assert len(started(cluster.step(events.Tick(), 0.7))) == 8


def test_a_start_that_ends_as_if_all_were_well_is_a_failed_start_and_no_endless_loop() -> None:
    cluster = Cluster("test")
    cluster.step(events.NodeJoined("no-1", NODE), 0.0)
    cluster.step(events.FunctionAdded("fn-1", "ap-1", FunctionSpec(name="f")), 0.0)
    out, now, starts = call(cluster, "ca-1", 1), 0.0, 0
    while cluster.calls and now < 60.0:
        for container in started(out):
            starts += 1
            out = cluster.step(events.ContainerEnded(container, int(Status.OK), "it exited with 0"), now)
        if cluster.calls:
            now += 0.25
            out = cluster.step(events.Tick(), now)
    assert starts == 4
    resolve = next(effect for effect in out if isinstance(effect, effects.Resolve))
    assert resolve.statuses == (Status.CRASHED,)


def test_a_container_that_says_ready_twice_is_believed_once() -> None:
    cluster, (container,) = warm()
    call(cluster, "ca-1", 1)
    cluster.step(events.FunctionRemoved("fn-1", "its app was stopped", drain=True), 0.1)
    assert cluster.containers[container].state == "draining"
    assert cluster.step(events.ContainerReady(container, "fork", 5.0), 0.2) == []
    assert cluster.violations() == []


def test_who_ran_in_a_container_that_was_killed_for_another_is_not_charged() -> None:
    cluster, (container,) = warm(slots=2)
    call(cluster, "ca-1", 1)
    call(cluster, "ca-2", 1)
    cluster.step(events.CallCancelled("ca-1", "by its caller", terminate=True), 0.1)
    cluster.step(ended(container, "ca-1", 0, status=Status.CANCELLED), 0.2)
    out = cluster.step(events.ContainerEnded(container, int(Status.CRASHED), "killed"), 0.3)
    assert "Resolve" not in kinds(out)
    assert cluster.stats("fn-1")["backlog"] == 1


def test_which_inputs_are_tried_again_is_told_with_when():
    cluster, (container,) = warm(retries=2)
    call(cluster, "ca-1", 4)
    failed = events.AttemptsEnded(container, "ca-1", (1, 3), (int(Status.ERROR),) * 2, (None, None))
    retried = [effect for effect in cluster.step(failed, 1.0) if isinstance(effect, effects.Retried)]
    assert retried == [effects.Retried("ca-1", "fn-1", (1, 3), "retry 1 of 2 in 0 s")]
