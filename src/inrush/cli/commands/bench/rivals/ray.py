"""Ray on this machine: actors for what has state or is warm, tasks gathered by one `ray.get` of all references.

Ray forks nothing: an actor is a fresh process, or one of the idle workers that Ray keeps, as it likes. Arrays go by its
object store, which workers read without a copy.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from inrush.cli.commands.bench.rivals.timing import calls_ms, enough_memory, per_s, sums_s

_STORE_BYTES = 3 << 30
_SMALL_STORE_BYTES = 256 << 20
Samples = Iterator[tuple[str, str, list[float]]]


def missing() -> str:
    return "" if find_spec("ray") else "not installed; `pip install 'inrush[bench]'` brings it"


def version() -> str:
    return version_of("ray")


def measure(quick: bool, folder: Path) -> Samples:
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    import ray

    large = enough_memory() and os.statvfs("/dev/shm").f_bavail * os.statvfs("/dev/shm").f_frsize > _STORE_BYTES  # noqa: S108
    ray.init(
        num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, configure_logging=False,
        object_store_memory=_STORE_BYTES if large else _SMALL_STORE_BYTES, _temp_dir=str(folder),
    )  # fmt: skip
    try:
        yield from _calls(ray, quick)
        yield from _starts(ray, quick)
        if large:
            yield from _arrays(ray, quick)
    finally:
        ray.shutdown()


def _calls(ray: Any, quick: bool) -> Samples:
    """Warm calls to one actor and of a task; maps over tasks and over as many actors as there are cores."""
    task, kind = ray.remote(num_cpus=1)(_nothing()), ray.remote(num_cpus=0)(_stamped())
    actors = [kind.remote() for _ in range(os.cpu_count() or 1)]
    calls = 300 if quick else 2000
    yield "remote.warm_ms", "ray_actor", calls_ms(lambda i: ray.get(actors[0].nothing.remote(i)), calls)
    yield "remote.warm_ms", "ray_task", calls_ms(lambda i: ray.get(task.remote(i)), calls)

    def by_tasks(inputs: int) -> int:
        return sum(ray.get([task.remote(i) for i in range(inputs)]))

    def by_actors(inputs: int) -> int:
        return sum(ray.get([actors[i % len(actors)].nothing.remote(i) for i in range(inputs)]))

    inputs, runs = (5_000, 1) if quick else (10_000, 2)
    yield "map.inputs_per_s", "ray_task", per_s(by_tasks, inputs, runs)
    yield "map.inputs_per_s", "ray_actor", per_s(by_actors, inputs, runs)
    for actor in actors:
        ray.kill(actor)


def _starts(ray: Any, quick: bool) -> Samples:
    """An actor, to its first line and to its first result; and many at once, as fits into memory."""
    actor = ray.remote(num_cpus=0)(_stamped())
    samples = []
    for _ in range(3 if quick else 10):
        began = time.monotonic()
        made = actor.remote()
        first_line = ray.get(made.first_line.remote())
        samples.append(((first_line - began) * 1000, (time.monotonic() - began) * 1000))
        ray.kill(made)
    yield "start.isolated_ms", "ray_actor", [first_ms for first_ms, _ in samples]
    yield "remote.cold_ms", "ray_actor", [result_ms for _, result_ms in samples]
    count = 4 if quick else 20
    began = time.monotonic()
    many = [actor.remote() for _ in range(count)]
    ray.get([one.first_line.remote() for one in many])
    yield "burst.containers_per_s", "ray_actor", [count / (time.monotonic() - began)]
    for one in many:
        ray.kill(one)


def _arrays(ray: Any, quick: bool) -> Samples:
    def total(array):  # type: ignore[no-untyped-def]
        return float(array.sum())

    task = ray.remote(total)
    yield "payload.gib_s", "ray_task", sums_s(lambda array: ray.get(task.remote(ray.put(array))), 1 if quick else 3)


def _nothing() -> Any:
    """Defined in a function, so that workers get it by value and import nothing of ours."""

    def nothing(x):  # type: ignore[no-untyped-def]
        return x

    return nothing


def _stamped() -> Any:
    class Stamped:
        def __init__(self):  # type: ignore[no-untyped-def]
            import time

            self.began = time.monotonic()

        def first_line(self):  # type: ignore[no-untyped-def]
            return self.began

        def nothing(self, x):  # type: ignore[no-untyped-def]
            return x

    return Stamped
