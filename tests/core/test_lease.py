"""The contract of leases: which inputs are sent to containers in advance, and how they come back."""

from __future__ import annotations

import pytest

from core.test_cluster import NODE, started
from inrush.core.calls.lease import LEAST, MOST, SHORT_S, STALE_S, stale_s
from inrush.core.cluster import Cluster
from inrush.core.model import effects, events
from inrush.wire import FunctionSpec, Retries, ScalePolicy, Status, Web

SHORT, LONG = SHORT_S / 10, SHORT_S * 2


def ready(containers: int = 1, retries: int = 0, **spec: object) -> tuple[Cluster, list[str]]:
    cluster = Cluster("lease")
    cluster.step(events.NodeJoined("no-1", NODE), 0.0)
    scale = ScalePolicy(min_containers=containers, max_containers=containers)
    given = {"scale": scale, "retries": Retries(max_retries=retries, initial_delay_s=0.0), **spec}
    ids = started(cluster.step(events.FunctionAdded("fn-1", "ap-1", FunctionSpec(name="f", **given)), 0.0))  # type: ignore[arg-type]
    for container in ids:
        cluster.step(events.ContainerReady(container, "fork", 5.0), 0.0)
    return cluster, ids


def call(cluster: Cluster, name: str, count: int, now: float, caller: str = "") -> list[effects.Effect]:
    cluster.step(events.CallArrived(name, "fn-1", "map", count, caller=caller), now)
    return cluster.step(events.InputsArrived(name, 0, count), now)


def end(
    cluster: Cluster, container: str, name: str, indexes: range, now: float, took: float = SHORT
) -> list[effects.Effect]:
    n = len(indexes)
    event = events.AttemptsEnded(container, name, tuple(indexes), (0,) * n, (None,) * n, took * n)
    return cluster.step(event, now)


def dispatched(out: list[effects.Effect]) -> list[int]:
    return [index for effect in out if isinstance(effect, effects.Dispatch) for index in effect.indexes]


def test_short_inputs_are_sent_ahead_once_they_are_known_to_be_short() -> None:
    cluster, (container,) = ready()
    assert dispatched(call(cluster, "ca-1", 500, 0.0)) == [0]
    assert dispatched(end(cluster, container, "ca-1", range(1), 0.01)) == list(range(1, 2 + MOST))
    assert cluster.stats("fn-1")["running_inputs"] == 1
    assert cluster.stats("fn-1")["backlog"] == 498
    assert cluster.violations() == []


def test_the_longer_inputs_are_the_fewer_are_sent_ahead() -> None:
    cluster, (container,) = ready()
    call(cluster, "ca-1", 500, 0.0)
    assert len(dispatched(end(cluster, container, "ca-1", range(1), 0.01, SHORT_S * 0.99))) == 1 + LEAST


@pytest.mark.parametrize(
    "spec",
    [
        {"scale": ScalePolicy(single_use=True, min_containers=1, max_containers=1)},
        {"generators": ("",)},
        {"web": (("", Web("asgi")),)},
    ],
)
def test_what_yields_and_what_is_used_once_gets_nothing_ahead(spec: dict[str, object]) -> None:
    cluster, (container,) = ready(**spec)
    call(cluster, "ca-1", 500, 0.0)
    assert len(dispatched(end(cluster, container, "ca-1", range(1), 0.01))) <= 1


def test_long_inputs_get_nothing_ahead() -> None:
    cluster, (container,) = ready()
    call(cluster, "ca-1", 500, 0.0)
    assert dispatched(end(cluster, container, "ca-1", range(1), 0.01, LONG)) == [1]


def test_a_container_that_waits_for_its_own_call_gets_nothing_ahead() -> None:
    cluster, (container,) = ready()
    call(cluster, "ca-1", 2, 0.0)
    end(cluster, container, "ca-1", range(1), 0.01)
    assert dispatched(call(cluster, "ca-2", 3, 0.02, caller=container)) == []


def test_what_is_given_back_waits_again_and_has_lost_no_retry() -> None:
    cluster, (stuck, other) = ready(2)
    call(cluster, "ca-1", 4, 0.0)
    for container in (stuck, other):
        (index,) = [i for i, attempt in cluster.calls["ca-1"].running.items() if attempt.container.id == container]
        end(cluster, container, "ca-1", range(index, index + 1), 0.01)
    out = call(cluster, "ca-2", 9, 0.011)
    there = {
        c: [e.indexes for e in out if isinstance(e, effects.Dispatch) and e.container == c] for c in (stuck, other)
    }
    ahead = [i for span in there[stuck] for i in span]
    assert ahead, "nobody knows yet that it runs a longer input"
    index = there[other][0][0]
    end(cluster, other, "ca-2", range(index, index + 1), 0.013)
    out = cluster.step(events.Tick(), 0.011 + STALE_S)
    assert [e.container for e in out if isinstance(e, effects.Recall)] == [stuck]
    out = cluster.step(events.InputsReturned(stuck, "ca-2", tuple(ahead)), 0.03)
    assert sorted(dispatched(out)) == ahead
    assert all(effect.container == other for effect in out if isinstance(effect, effects.Dispatch))
    assert not cluster.calls["ca-2"].tries
    assert cluster.violations() == []


def test_the_owner_of_a_cancelled_call_is_told_once_of_what_runs_and_of_what_comes_back() -> None:
    cluster, (container,) = ready()
    call(cluster, "ca-1", 1, 0.0)
    end(cluster, container, "ca-1", range(1), 0.01)
    call(cluster, "ca-2", 5, 0.02)
    out = cluster.step(events.CallCancelled("ca-2", "by its caller"), 0.03)
    (resolve,) = [effect for effect in out if isinstance(effect, effects.Resolve)]
    assert (resolve.indexes, set(resolve.statuses)) == ((0, 1, 2, 3, 4), {Status.CANCELLED})
    for event in (
        events.InputsReturned(container, "ca-2", (1, 2, 3, 4)),
        events.AttemptsEnded(container, "ca-2", (0,), (Status.OK,), (None,)),
    ):
        assert not [e for e in cluster.step(event, 0.03) if isinstance(e, effects.Resolve)]
    assert "ca-2" not in cluster.calls


def test_inputs_that_were_ahead_in_a_container_that_crashed_are_not_charged() -> None:
    cluster, (container,) = ready()
    call(cluster, "ca-1", 1, 0.0)
    end(cluster, container, "ca-1", range(1), 0.01)
    call(cluster, "ca-2", 5, 0.02)
    out = cluster.step(events.ContainerEnded(container, Status.CRASHED, "it crashed"), 0.03)
    assert not [effect for effect in out if isinstance(effect, effects.Resolve)]
    (again,) = started(out)
    assert len(dispatched(cluster.step(events.ContainerReady(again, "fork", 5.0), 0.04))) == 1, "wary: one by one"


def test_containers_that_wait_for_a_processor_keep_what_they_were_sent() -> None:
    cluster, containers = ready(4)
    call(cluster, "ca-1", 500, 0.0)
    recalls, now = 0, 0.0
    for _ in range(20):  # each has its turn every 16 ms, in which it ends some at once
        for container in containers:
            now += 0.004
            recalls += sum(isinstance(e, effects.Recall) for e in cluster.step(events.Tick(), now))
            held = [i for i, attempt in cluster.calls["ca-1"].running.items() if attempt.container.id == container][:4]
            for index in held:
                end(cluster, container, "ca-1", range(index, index + 1), now, 1e-6)
    assert recalls <= 4, "only before the pauses were known"
    assert cluster.violations() == []


def test_a_long_input_is_no_pause() -> None:
    cluster, (stuck, other) = ready(2)
    call(cluster, "ca-1", 500, 0.0)
    for container in (stuck, other):
        index = next(i for i, attempt in cluster.calls["ca-1"].running.items() if attempt.container.id == container)
        end(cluster, container, "ca-1", range(index, index + 1), 0.001)
    first = min(i for i, attempt in cluster.calls["ca-1"].running.items() if attempt.container.id == stuck)
    end(cluster, stuck, "ca-1", range(first, first + 1), 0.051, 0.05)
    assert stale_s(cluster.functions["fn-1"]) == STALE_S
