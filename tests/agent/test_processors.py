"""What an agent says of its containers' use of the processors, on real containers and on numbers."""

from __future__ import annotations

from agent.desk import Desk
from inrush import wire
from inrush.agent.link.processors import MAX_LOOKED, MAX_LOOKED_EACH, Mean, Processors, use

MS = 1_000_000

CODE = """
    import time
    def f(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end: pass
    def g(seconds):
        time.sleep(seconds)
"""


async def test_containers_that_compute_and_that_wait_are_told_apart(desk: Desk) -> None:
    assert await desk.hear(wire.NodeCpu) == wire.NodeCpu("no-local")
    for id, function, name in (("co-1", "fn-1", "f"), ("co-2", "fn-2", "g")):
        desk.tell(wire.StartContainer(id, function, "app", desk.spec(CODE, name)))
        await desk.hear(wire.ContainerReady, lambda ready, id=id: ready.container == id)  # type: ignore[misc]
    for id in ("co-1", "co-2"):
        desk.run(id, f"ca-{id}", 1.5)

    # What is told first is of a few milliseconds, in which one that will wait begins its input.
    async def told(function: str, low: float, high: float) -> None:
        await desk.hear(
            wire.NodeCpu, lambda cpu: any(u.function == function and low <= u.serving < high for u in cpu.uses)
        )

    await told("fn-1", 0.5, 2.0)
    await told("fn-2", 0.0, 0.2)


def test_the_use_of_a_thread_does_not_depend_on_who_competes_with_it() -> None:
    alone = use({1: (0, 0)}, [(1, 20 * MS, 0, False)], 0.1)
    crowded = use({1: (0, 0)}, [(1, 10 * MS, 50 * MS, False)], 0.1)
    assert alone == crowded == 0.2
    assert use({1: (0, 0)}, [(1, 3 * MS, 0, True)], 0.02) == 1, "it waits, which is counted when the wait is over"
    assert use({1: (5, 5)}, [(1, 5, 5, False)], 0.1) == 0
    assert use({}, [(1, 100 * MS, 0, True), (2, 100 * MS, 0, True), (3, 1, 0, False)], 0.1) > 1.99
    assert use({1: (0, 0)}, [(1, 10 * MS, 900 * MS, False)], 0.1) == 1, "a wait from before the last look"


def test_a_mean_forgets_what_was_long_ago() -> None:
    mean = Mean()
    for _ in range(100):
        mean.add(1.0, 0.1)
    assert mean.cores == 1
    for _ in range(100):
        mean.add(0.0, 0.1)
    assert mean.cores < 0.01


class Nodes:
    """A launcher of containers whose one thread runs all the time."""

    def __init__(self) -> None:
        self.at, self.asked = 0.0, list[str]()

    async def threads(self, ids: list[str]) -> tuple[float, dict[str, list[tuple[int, int, int, bool]]]]:
        self.at, self.asked = self.at + 1.0, ids
        return self.at, {id: [(n, int(self.at * 1e9), 0, True)] for n, id in enumerate(ids)}


async def test_a_bounded_number_is_looked_at_and_only_changes_are_told() -> None:
    said: list[wire.NodeCpu] = []
    work = [(f"co-{n}", (f"fn-{n % 40}", "serving")) for n in range(4000)]
    node = Nodes()
    looks = Processors("no-1", node, lambda: work, said.append)  # type: ignore[arg-type]
    await looks._look()
    first = node.asked
    assert len(first) == MAX_LOOKED
    await looks._look()
    assert node.asked == first, "the same ones again, since only what is seen twice tells something"
    assert [round(u.serving, 2) for u in said[-1].uses] == [1.0] * MAX_LOOKED
    for _ in range(5):
        await looks._look()
    assert len(said) == 1
    work = work[::40]
    await looks._look()
    assert len(node.asked) == MAX_LOOKED_EACH
    work = []
    await looks._look()
    assert (looks._seen, looks._means, looks._start_s) == ({}, {}, {})
