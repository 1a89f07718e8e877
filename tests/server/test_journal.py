"""The journal of a server that has run for long: it replays with the decisions that were taken, and its memory is
bounded. If a checkpoint would be too large, it says that its beginning is missing."""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from inrush import wire
from inrush.core.cluster import Cluster
from inrush.core.model import effects, events
from inrush.server import journal as journal_module
from inrush.server import loop as loop_module
from inrush.server.journal import Journal
from inrush.server.serve import Server
from inrush.sim.fuzz import scenario
from inrush.sim.replay import decisions
from inrush.sim.world import World
from inrush.wire import FunctionSpec, Retries

from .peers import Agent, Client

RING_BYTES = 100_000
SECRET = b"a secret payload"


class Recorded:
    """A core that keeps what it decided, as a replay would tell it, and writes a journal unless its loop does."""

    def __init__(self, core: Cluster, journal: Journal | None = None) -> None:
        self.decided: list[list[Any]] = []
        self.most_bytes = 0
        self._core, self._journal = core, journal
        self._step, core.step = core.step, self.step  # type: ignore[method-assign]

    def step(self, event: events.Event, now: float) -> list[effects.Effect]:
        if self._journal is not None:
            self._journal.add(now, event)  # type: ignore[arg-type]
            self.most_bytes = max(self.most_bytes, self._journal.size_bytes)
        out = self._step(event, now)
        self.decided.append([msgspec.to_builtins(unreferring(effect)) for effect in out])
        return out


def unreferring(effect: effects.Effect) -> effects.Effect:
    """What a replay knows of payloads: that there is one for each index."""
    if isinstance(effect, effects.Resolve):
        return msgspec.structs.replace(effect, refs=(None,) * len(effect.indexes))
    return effect


def assert_replays(file: bytes, path: Path, decided: list[list[Any]], steps_least: int) -> None:
    """The file begins with a checkpoint, and its steps decide what the latest steps of the core did."""
    path.write_bytes(file)
    told = msgspec.msgpack.decode(file)
    count = len(told["events"])
    assert told["complete"]
    assert steps_least <= count < len(decided)
    assert "checkpoint" in told
    again = {step["step"]: step["decided"] for step in decisions(path)}
    assert [again.get(number, []) for number in range(count)] == decided[-count:]


@pytest.mark.parametrize(("seed", "ring_bytes"), [(1, 120_000), (10, 64_000), (14, 120_000), (17, 100_000)])
def test_a_ring_that_overflowed_replays_what_was_decided(seed: int, ring_bytes: int, tmp_path: Path) -> None:
    world = World(scenario(seed), seed)
    journal = Journal(ring_bytes, core=world.cluster)
    recorded = Recorded(world.cluster, journal)

    def stepping(event: events.Event, now: float) -> list[effects.Effect]:
        out = recorded.step(event, now)
        if len(recorded.decided) % 8000 == 7999 and "checkpoint" in msgspec.msgpack.decode(journal.file("1")):
            assert_replays(journal.file("1"), tmp_path / "journal", recorded.decided, 100)
        return out

    world.cluster.step = stepping  # type: ignore[method-assign]
    world.run()
    assert_replays(journal.file("1"), tmp_path / "journal", recorded.decided, 100)
    assert ring_bytes // 2 < recorded.most_bytes <= ring_bytes


async def test_the_ring_of_a_real_server_replays_what_its_loop_decided_and_holds_no_payload(
    opened: Callable[..., AbstractAsyncContextManager[Server]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(loop_module, "Journal", functools.partial(Journal, 2 * RING_BYTES))
    taken = 0

    async with opened() as server:
        recorded = Recorded(server.loop.core)
        capture = server.loop.core.checkpoint

        def counted(values_max: int) -> Any:
            nonlocal taken
            taken += 1
            return capture(values_max)

        server.loop.core.checkpoint = counted  # type: ignore[method-assign,assignment]
        client = await Client(server.home / "run" / "server.sock").connect()

        def work(method: str, payload: bytes) -> bytes:
            if payload.endswith(b"0"):
                raise ValueError("an input that fails")
            return payload

        agent = Agent(server, work)
        spec = FunctionSpec(name="f", module="m", qualname="f", retries=Retries(max_retries=1, initial_delay_s=0.0))
        function = (await client.start_app(spec))["functions"]["f"]
        for number in range(2500):
            payload = b"P" + SECRET + str(number).encode()
            client.send(wire.StartCall(f"ca-{number}", function, payloads=(payload,)))
            if number % 50 == 49:
                await client.results(f"ca-{number}", 1)
                client.send(*[wire.ForgetCall(f"ca-{other}") for other in range(number - 49, number)])
            if number == 700:
                agent.hold = True
            if number == 710:
                client.send(wire.CancelCall("ca-705"))
                agent.release()
        file = server.loop.journal.file(server.version)
        assert_replays(file, tmp_path / "journal", recorded.decided, 300)
        await client.close()
    assert taken > 3
    assert SECRET not in file
    assert b"an input that fails" not in file


def test_a_checkpoint_that_is_too_large_is_postponed_and_the_file_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    core = Cluster("s")
    journal = Journal(RING_BYTES, core=core)
    recorded = Recorded(core, journal)
    recorded.step(events.FunctionAdded("fn-f", "ap", FunctionSpec(name="f")), 0.0)
    monkeypatch.setattr(journal_module, "CHECKPOINT_LIMIT", 200)
    for number in range(6000):
        recorded.step(events.CallArrived(f"ca-{number}", "fn-f", "remote", 1, first=0, count=1), float(number))
        if number % 4:
            recorded.step(events.CallCancelled(f"ca-{number}", "by its caller"), float(number))
        if number == 5000:
            assert msgspec.msgpack.decode(journal.file("1"))["complete"] is False
            assert journal.size_bytes > RING_BYTES * 3 // 4
            for other in range(0, 5001, 4):
                recorded.step(events.CallCancelled(f"ca-{other}", "by its caller"), float(number))
            monkeypatch.undo()
    assert recorded.most_bytes <= RING_BYTES
    assert_replays(journal.file("1"), tmp_path / "journal", recorded.decided, 100)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_events_and_checkpoints_come_the_ring_is_bounded_and_has_no_gap(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, core, limit = random.Random(seed), Cluster("s"), 20_000
    size: int | None = 0
    monkeypatch.setattr(core, "checkpoint", lambda values_max: None if size is None else {"": "x" * size})
    journal = Journal(limit, core=core)
    for number in range(2000):
        if chance.random() < 0.02:
            size = chance.choice([None, 0, 100, limit // 8, limit // 4 - 10, limit // 3])
        journal.add(float(number), events.NodeLeft("n" * chance.choice([0, 10, 100, limit // 20]), "gone"))
        assert journal.size_bytes <= limit
    times = [at for at, _ in journal.read()]
    assert times == [float(number) for number in range(2000 - len(times), 2000)]


def test_a_checkpoint_that_fails_is_told_and_the_journal_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    core = Cluster("s")
    monkeypatch.setattr(core, "checkpoint", lambda values_max: 1 / 0)
    journal = Journal(20_000, core=core)
    with caplog.at_level(logging.ERROR):
        for number in range(2000):
            journal.add(float(number), events.NodeLeft(f"no-{number}", "gone"))
    assert "no checkpoint of the core could be taken" in caplog.text
    assert len(caplog.records) < 20
    told = msgspec.msgpack.decode(journal.file("1"))
    assert told["complete"] is False
    assert told["events"][-1][0] == 1999.0
    assert journal.size_bytes <= 20_000


def test_an_event_larger_than_the_ring_is_let_go_with_the_next_checkpoint(tmp_path: Path) -> None:
    core = Cluster("s")
    journal = Journal(20_000, core=core)
    recorded = Recorded(core, journal)
    large = FunctionSpec(name="f", env=tuple((f"NAME_{n}", "value") for n in range(3000)))
    recorded.step(events.FunctionAdded("fn-f", "ap", large), 0.0)
    recorded.step(events.FunctionAdded("fn-f", "ap", FunctionSpec(name="f")), 0.0)
    for number in range(900):
        recorded.step(events.NodeLeft(f"no-{number}", "gone"), 1.0 + number)
    assert journal.size_bytes <= 20_000
    assert_replays(journal.file("1"), tmp_path / "journal", recorded.decided, 100)
