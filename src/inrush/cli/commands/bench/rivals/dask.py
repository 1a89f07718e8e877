"""Dask's distributed scheduler on this machine: a worker process a core, which are warm before anything is timed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path

from inrush.cli.commands.bench.rivals.timing import calls_ms, per_s, sums_s


def missing() -> str:
    return "" if find_spec("distributed") else "not installed; `pip install 'inrush[bench]'` brings it"


def version() -> str:
    return version_of("distributed")


def measure(quick: bool, folder: Path) -> Iterator[tuple[str, str, list[float]]]:
    """Calls by `submit`, maps by one `map` and one `gather`, the array scattered straight to a worker."""
    os.environ["DASK_TEMPORARY_DIRECTORY"] = str(folder)
    from distributed import Client, LocalCluster

    def nothing(x):  # type: ignore[no-untyped-def] # nested, so that it goes to workers by value
        return x

    def total(array):  # type: ignore[no-untyped-def]
        return float(array.sum())

    cluster = LocalCluster(
        n_workers=os.cpu_count() or 1, threads_per_worker=1, dashboard_address=None, local_directory=str(folder),
        memory_limit=0,
    )  # fmt: skip
    with cluster, Client(cluster) as client:
        call = lambda i: client.submit(nothing, i, pure=False).result()  # noqa: E731
        yield "remote.warm_ms", "dask", calls_ms(call, 200 if quick else 1000)

        def mapped(inputs: int) -> int:
            return sum(client.gather(client.map(nothing, range(inputs), pure=False)))

        yield "map.inputs_per_s", "dask", per_s(mapped, 2_000 if quick else 5_000, 1 if quick else 3)
        summed = lambda array: client.submit(total, client.scatter(array, direct=True, hash=False)).result()  # noqa: E731
        yield "payload.gib_s", "dask", sums_s(summed, 1 if quick else 3)
