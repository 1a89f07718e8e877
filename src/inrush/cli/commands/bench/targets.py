"""What is measured, and what each number must be and is hoped to be."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """`more` is better for rates, less for everything else. `must` and `goal` hold for the median, `must_p95` and
    `goal_p95` for the 95th percentile. `ratio` holds, where a rival took part, for our median divided by its.
    """

    unit: str
    meaning: str
    must: float | None = None
    goal: float | None = None
    must_p95: float | None = None
    goal_p95: float | None = None
    more: bool = False
    ratio: tuple[str, float] | None = None


_PHASE = "part of a start: "

TARGETS = {
    "start.isolated_ms": Target(
        "ms", "from the order to start a container to the first line of user code in it", 12, 5, 25, 10
    ),
    "phase.placed_ms": Target("ms", _PHASE + "from the call until the node has the order"),
    "phase.mounted_ms": Target("ms", _PHASE + "source, root and network are there, or were made ahead"),
    "phase.forked_ms": Target("ms", _PHASE + "the zygote has forked"),
    "phase.isolated_ms": Target("ms", _PHASE + "namespaces, root, control groups, no rights"),
    "phase.verified_ms": Target("ms", _PHASE + "the launcher has looked at it from outside"),
    "phase.first_line_ms": Target("ms", _PHASE + "the container knows its function, and its module begins"),
    "phase.hooks_ms": Target("ms", _PHASE + "the rest of the module, and enter hooks"),
    "phase.answered_ms": Target("ms", _PHASE + "the node hears that, the input goes there, its result back"),
    "remote.cold_ms": Target("ms", "`.remote()` of a no-op with no container, its zygote being up", 20, 20, 40, 40),
    "remote.warm_ms": Target("ms", "round trip of a no-op", 0.5, 0.35, ratio=("ray_actor", 0.5)),
    "map.inputs_per_s": Target(
        "/s", "`.map` of 20,000 no-ops, 10 containers, 64 at once in each", 20_000, 35_000, more=True,
        ratio=("ray_task", 10),
    ),
    "map.one_container_per_s": Target("/s", "the same, one container, 64 at once", 10_000, 30_000, more=True),
    "map.single_slot_per_s": Target("/s", "the same, 10 containers, one at once in each", 10_000, 10_000, more=True),
    "spawn.calls_per_s": Target(
        "/s", "`.spawn`, durable: acknowledged when committed to disk, 128 in flight", 5_000, 5_000, more=True
    ),
    "burst.containers_per_s": Target("/s", "200 containers at once, from none", 150, 350, more=True),
    "start.torch_ms": Target("ms", "`.remote()` of a function that imports torch, with no container", 40, 40),
    "start.llm_snapshot_ms": Target(
        "ms", "a loaded language model: from the call, with no container, until it runs", 40, 30
    ),
    "llm.pss_mib": Target("MiB", "memory of each of 10 containers of it that have answered", 150, 150, 150, 150),
    "payload.gib_s": Target("s", "a numpy array of 1 GiB as an argument, and its sum", 1.5, 1.5),
    "payload.grew_mib": Target("MiB", "the most that a process grew by that", 1.2 * 1024, 1.2 * 1024),
    "map.million_mib": Target("MiB", "the most that a process grew in a `.map` of 1,000,000 no-ops", 200, 200),
    "import.inrush_ms": Target("ms", "`import inrush` over bare Python", 80, 80),
    "import.app_ms": Target("ms", "the same, with App and Image used: names are loaded lazily", 200, 80),
    "server.idle_cpu_percent": Target("%", "of a core, server and launcher without work", 1.0, 1.0),
    "server.idle_mib": Target("MiB", "memory of server and launcher without work", 120, 120),
}  # fmt: skip

PHASES = [name for name in TARGETS if name.startswith("phase.")]
"""In their order."""
