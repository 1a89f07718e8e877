"""The file that the setting `pools` names: which pools of nodes a server has.

    [[pools]]
    name = "rack"
    kind = "declared"       # nodes that somebody set up: an agent with INRUSH_POOL=rack is one of them
    nodes = 2
    gpu_type = "A10G"
    gpus = 4

    [[pools]]
    name = "cheap"
    kind = "simulated"      # nodes that are made up, and come when they are ordered
    nodes_max = 8
    gpu_type = "A100"
    gpus = 8
    price = 8.0
    node_s = 40.0

Whatever is wrong is told with the file, the pool, and what to write.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from inrush.errors import InvalidError
from inrush.pools.spec import PoolSpec

POOLS_MAX = 64
NODES_MAX = 10_000
"""Nodes that one pool may have."""
GPUS_MAX = 1024
"""GPUs that one node may have."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_TYPE = re.compile(r"[A-Za-z0-9-]*")
_LIKE = {
    "name": 'name = "cheap"',
    "kind": 'kind = "declared" or kind = "simulated"',
    "gpu_type": 'gpu_type = "A100"',
    "cloud": 'cloud = "aws"',
    "region": 'region = "north"',
    "labels": 'labels = { disk = "nvme" }',
    "stockouts": "stockouts = [[60, 240]]",
    "cpu": "cpu = 64.0",
    "price": "price = 8.0",
    "node_s": "node_s = 40.0",
    "keep_s": "keep_s = 60.0",
    "memory_mib": "memory_mib = 65536",
}
"""Examples of what to write; any field that is not listed is a whole number."""


class FilePool(PoolSpec, frozen=True):
    """One pool of the file."""

    kind: Literal["declared", "simulated"]


def read(path: Path) -> tuple[FilePool, ...]:
    """The pools of a file. Raises `InvalidError`, which says where the file is wrong and what to write instead."""
    try:
        told = tomllib.loads(path.read_text())
    except OSError as error:
        why = f"pools={str(path)!r} cannot be read ({error.strerror}); it names a TOML file with [[pools]] tables"
        raise InvalidError(why) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidError(f"{path} is not TOML: {error}") from None
    tables = told.get("pools", [])
    if strange := sorted(set(told) - {"pools"}):
        raise InvalidError(f"{path}: {strange[0]!r} is not known here; the file has [[pools]] tables and nothing else")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InvalidError(f"{path}: pools are tables, each under a line [[pools]]")
    if len(tables) > POOLS_MAX:
        raise InvalidError(f"{path}: there are {len(tables)} pools, and may be {POOLS_MAX}")
    pools = tuple(_pool(f"{path}: {_called(table, number)}", table) for number, table in enumerate(tables, 1))
    names = [pool.name for pool in pools]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidError(f"{path}: two pools are called {twice!r}; give one of them another name")
    return pools


def _called(table: dict[str, Any], number: int) -> str:
    return f"pool {table['name']!r}" if isinstance(table.get("name"), str) else f"pool number {number}"


def _pool(where: str, table: dict[str, Any]) -> FilePool:
    known = FilePool.__struct_fields__
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise InvalidError(f"{where}: {key!r} is not known; {hint}")
    for key in ("name", "kind"):
        if key not in table:
            raise InvalidError(f"{where} has no {key}; write {_LIKE[key]}")
    try:
        pool = msgspec.convert(table, FilePool)
    except msgspec.ValidationError as error:
        what, _, at = str(error).partition(" - at `$.")
        key = re.split(r"[.\[`]", at)[0]
        what = what.replace("`", "").replace(" | null", "")
        raise InvalidError(f"{where}: {key}: {what}; write {_LIKE.get(key, f'{key} = 4')}") from None
    for wrong in _wrong(pool):
        raise InvalidError(f"{where}: {wrong}")
    return pool


def _wrong(pool: FilePool) -> Iterator[str]:
    """What is wrong with values of the right type."""
    if not _NAME.fullmatch(pool.name):
        yield f"name={pool.name!r}: write up to 40 lower-case letters, digits and dashes, such as {_LIKE['name']}"
    for key in ("nodes", "gpus", "price", "node_s", "keep_s"):
        value = getattr(pool, key)
        if value is not None and not 0 <= value < math.inf:
            yield f"{key}={value:g}: it is 0 or more"
    for key in ("cpu", "memory_mib"):
        if not 0 < getattr(pool, key) < math.inf:
            yield f"{key}={getattr(pool, key):g}: it is more than 0"
    if not max(1, pool.nodes) <= pool.most <= NODES_MAX:
        key = "nodes" if pool.nodes_max is None else "nodes_max"
        least = "1" if pool.nodes <= 1 else f"nodes ({pool.nodes})"
        yield f"{key}={pool.most}: write a number from {least} to {NODES_MAX}"
    if pool.gpus > GPUS_MAX:
        yield f"gpus={pool.gpus}: a node has {GPUS_MAX} at most"
    if bool(pool.gpus) != bool(pool.gpu_type) or not _TYPE.fullmatch(pool.gpu_type):
        yield f'gpus={pool.gpus} with gpu_type={pool.gpu_type!r}: write both, such as gpu_type = "A100" and gpus = 8'
    if any(not 0 <= start < end for start, end in pool.stockouts):
        spans = [list(span) for span in pool.stockouts]
        yield f"stockouts={spans}: write pairs (from, to), such as {_LIKE['stockouts']}"
    if pool.kind == "declared":
        yield from _not_declared(pool)


def _not_declared(pool: FilePool) -> Iterator[str]:
    """Fields that mean nothing for nodes that somebody set up."""
    if pool.nodes_max not in (None, pool.nodes):
        yield f"nodes_max={pool.nodes_max}: a declared pool has its nodes={pool.nodes} and no more; leave nodes_max out"
    for key, value in (("keep_s", pool.keep_s), ("stockouts", pool.stockouts)):
        if value not in (None, ()):
            yield f'{key}: declared nodes are neither ordered nor given back; leave it out, or write kind = "simulated"'
