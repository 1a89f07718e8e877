"""`crun`, as in `oci`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inrush.cli.commands.bench.rivals import oci


def missing() -> str:
    return oci.missing("crun")


def version() -> str:
    return oci.version("crun")


def measure(quick: bool, folder: Path) -> Iterator[tuple[str, str, list[float]]]:
    yield from oci.measure("crun", quick, folder)
