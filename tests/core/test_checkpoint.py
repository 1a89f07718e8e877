"""Checkpoints of the core: what one contains, how another version reads it, and what is refused.
`tests/properties/test_checkpoints.py` tests that decisions after any checkpoint are the same."""

from __future__ import annotations

import math
import random
from typing import Any

import msgspec
import pytest

from inrush.core.check import checkpoint
from inrush.core.cluster import Cluster
from inrush.core.model import events
from inrush.core.model.state import State
from inrush.core.model.tuning import Tuning
from inrush.errors import InternalError, InvalidError
from inrush.wire import FunctionSpec, Gpu, GpuRequest, Inventory, Resources, ScalePolicy, Status
from properties.twins import Twins, copied

SMALL = Inventory(cpu=4.0, memory_mib=4000, gpus=(Gpu(type="A10G", index=0), Gpu(type="A10G", index=1)))


def working() -> Cluster:
    """Two functions, one of which has a container, a call that runs and one that waits."""
    cluster = Cluster("s", quotas={"ap-1": (("A10G", 1000),)})
    cluster.step(events.NodeJoined("no-1", SMALL), 1.0)
    for name in ("f", "g"):
        gpu = Resources(gpu=(GpuRequest(type="A10G"),))
        cluster.step(events.FunctionAdded(f"fn-{name}", "ap-1", FunctionSpec(name=name, resources=gpu)), 1.0)
        cluster.step(events.CallArrived(f"ca-{name}", f"fn-{name}", "map", 3, first=0, count=3), 1.0)
    (container,) = cluster.containers
    cluster.step(events.ContainerReady(container, "fork", 5.0), 1.5)
    return cluster


def state_of(cluster: Cluster) -> State:
    return cluster._state


def captured(cluster: Cluster) -> dict[str, Any]:
    plain = cluster.checkpoint()
    assert plain is not None
    return msgspec.msgpack.decode(msgspec.msgpack.encode(plain))


def rows(plain: dict[str, Any], kind: str) -> list[list[Any]]:
    return [row for row in plain["objects"] if row[0] == kind]


def test_what_is_one_object_is_one_again() -> None:
    cluster = working()
    state = state_of(copied(cluster))
    (container,) = state.containers.values()
    function, call = state.functions["fn-f"], state.calls["ca-f"]
    assert state.nodes["no-1"].containers[container.id] is container
    assert function.containers[container.id] is container
    assert function.calls["ca-f"] is call
    assert list(function.turns) == [call]
    assert call.running[0].container is container
    assert function.want is not None
    assert function.want.seats is function.seats
    assert all(state.functions[id] is hungry for id, hungry in state.hungry.items())
    assert state.hungry
    assert state.nodes["no-1"].group is state.index.groups[state.nodes["no-1"].group.kind]  # type: ignore[union-attr]


def test_a_copy_shares_nothing_with_its_original() -> None:
    cluster = working()
    copy = copied(cluster)
    before = captured(copy)
    cluster.step(events.CallCancelled("ca-f", "by its caller", True), 2.0)
    cluster.step(events.NodeLeft("no-1", "gone"), 2.0)
    assert captured(copy) == before
    assert list(copy.quotas) == ["ap-1"]
    assert copy.seed == "s"


def test_infinities_and_the_order_of_dicts_are_kept() -> None:
    cluster = Cluster("s")
    for node in ("no-b", "no-a", "no-c"):
        cluster.step(events.NodeJoined(node, SMALL), 1.0)
    state = state_of(copied(cluster))
    assert (state.provision_at, state.reclaim_due) == (math.inf, -math.inf)
    assert list(state.nodes) == ["no-b", "no-a", "no-c"]


def test_nodes_stand_in_the_index_as_they_did() -> None:
    """With more nodes than are compared, which are looked at is told by the order in which they changed."""
    chance = random.Random(7)
    twins: Any = Twins(Cluster("s"), lambda step: step % 40 == 39)
    for number in range(60):
        twins.step(events.NodeJoined(f"no-{number}", SMALL), 1.0)
    scale = ScalePolicy(min_containers=20)
    twins.step(events.FunctionAdded("fn-1", "ap", FunctionSpec(name="f", scale=scale)), 1.0)
    for number in range(200):
        ends = chance.choice(list(twins.containers))
        twins.step(events.ContainerReady(ends, "fork", 5.0), 2.0 + number)
        twins.step(events.ContainerEnded(ends, int(Status.LOST), "it ended"), 2.5 + number)
    twins.agree()
    assert twins.made > 5


def test_payloads_are_not_in_it_and_cannot_be() -> None:
    cluster = working()
    (container,) = cluster.containers
    ended = events.AttemptsEnded(container, "ca-f", (0,), (int(Status.ERROR),), (b"a secret payload",))
    cluster.step(ended, 2.0)
    assert b"secret payload" not in msgspec.msgpack.encode(cluster.checkpoint())
    state_of(cluster).flaps["no-1"] = b"a secret payload"  # type: ignore[assignment]
    with pytest.raises(InternalError, match="cannot hold a bytes"):
        cluster.checkpoint()


def test_between_effects_that_were_not_handed_out_there_is_none() -> None:
    cluster = working()
    state_of(cluster).out.append(events.Tick())  # type: ignore[arg-type]
    with pytest.raises(InternalError, match="a step failed"):
        cluster.checkpoint()


def test_a_state_of_too_many_values_is_not_captured() -> None:
    cluster = working()
    assert cluster.checkpoint(10) is None
    assert cluster.checkpoint(200) is None
    assert cluster.checkpoint(2000) is not None


def test_another_tuning_may_be_given_and_otherwise_the_code_has_its_own() -> None:
    tuning = Tuning(horizon_min_s=60.0)
    plain = captured(Cluster("s", tuning))
    state = checkpoint.restore(plain, tuning)
    assert state.tuning is tuning
    assert checkpoint.restore(plain).tuning == Tuning()


def test_fields_of_another_version_are_dropped_and_missing_ones_get_their_defaults() -> None:
    plain = captured(working())
    plain["fields"]["Call"].append("since_then")
    for row in rows(plain, "Call"):
        row.append(["Unheard", [len(plain["objects"])]])
    plain["objects"].append(["AlsoUnheard", 1])
    at = plain["fields"]["Function"].index("departures")
    del plain["fields"]["Function"][at]
    for row in rows(plain, "Function"):
        del row[at + 1]
    for row in rows(plain, "FunctionSpec"):
        row[1]["since_then"] = 5
    state = checkpoint.restore(plain)
    assert state.functions["fn-f"].departures.maxlen == 4
    assert state.calls["ca-f"].queue == [range(1, 3)]


def changed(plain: dict[str, Any], kind: str, field: str, value: Any) -> dict[str, Any]:
    rows(plain, kind)[0][plain["fields"][kind].index(field) + 1] = value
    return plain


def without(plain: dict[str, Any], kind: str, field: str) -> dict[str, Any]:
    plain["fields"][kind][plain["fields"][kind].index(field)] = "other"
    return plain


def deep(value: Any) -> Any:
    for _ in range(100_000):
        value = ["tuple", value]
    return value


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda plain: {}, "malformed"),
        (lambda plain: None, "malformed"),
        (lambda plain: {**plain, "objects": [["dict"]]}, "state"),
        (lambda plain: {**plain, "objects": [["list", [0]]]}, "TypeError"),
        (lambda plain: {**plain, "objects": [["dict", "state", 1, "index", 1, "quotas", 1]]}, "no state"),
        (lambda plain: changed(plain, "State", "calls", ["Popen", "true"]), "'Popen', which is nothing"),
        (lambda plain: changed(plain, "State", "calls", [10**6]), "object 1000000 of"),
        (lambda plain: changed(plain, "State", "calls", [-1]), "object -1 of"),
        (lambda plain: changed(plain, "State", "calls", {"a": 1}), "where a value should be"),
        (lambda plain: changed(plain, "State", "calls", 5), "has 5 as its calls"),
        (lambda plain: changed(plain, "Container", "cpu_milli", "much"), "'much' as its cpu_milli"),
        (lambda plain: changed(plain, "Function", "trend", ["Amount", 1, 2, 3]), "as its trend"),
        (lambda plain: changed(plain, "Node", "inventory", ["tuple"]), "as its inventory"),
        (lambda plain: changed(plain, "Container", "why", deep("deep")), "RecursionError"),
        (lambda plain: without(plain, "Function", "order"), "a Function has no order"),
        (lambda plain: plain["fields"]["Call"].append("more") or plain, "ValueError"),
        (lambda plain: rows(plain, "Inventory")[0].__setitem__(1, {"cpu": "much"}) or plain, "malformed"),
        (lambda plain: plain["objects"].__setitem__(1, ["eval", "1"]) or plain, "'eval', which is nothing"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_words(spoilt: Any, said: str) -> None:
    plain = spoilt(captured(working()))
    with pytest.raises(InvalidError, match=said) as raised:
        checkpoint.restore(plain)
    assert "the checkpoint cannot be read: " in str(raised.value)
