"""A recorded journal, stepped again: what does the core decide, and does another version of it decide otherwise?

`decisions` prints a line for each step that decided something. It uses the core alone, so that this file can be run
with any other tree's core: `PYTHONPATH=TREE/src python -P replay.py JOURNAL`. `compare` reads two such streams side by
side. How a journal file is made is in `server/journal.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from inrush.core.cluster import Cluster
from inrush.core.model.events import AnyEvent, AttemptsEnded
from inrush.errors import InvalidError


class Difference(NamedTuple):
    """The first step in which two trees decide differently. None stands for a side that has ended."""

    here: dict[str, Any] | None
    there: dict[str, Any] | None


def read(path: Path) -> tuple[dict[str, Any], list[tuple[float, Any]]]:
    """What the file says of itself (`seed`, `complete`, `version`; `checkpoint`, where there is one), and its events
    with their times."""
    try:
        told = msgspec.msgpack.decode(path.read_bytes())
        if missing := {"seed", "version", "complete"} - told.keys():
            raise KeyError(*missing)
        decoder = msgspec.msgpack.Decoder(AnyEvent)
        return told, [(now, decoder.decode(entry)) for now, entry in told.pop("events")]
    except OSError as error:
        raise InvalidError(f"the journal {path} cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InvalidError(f"{path} is not a journal of this version: {error}") from None


def decisions(path: Path) -> Iterator[dict[str, Any]]:
    """What the core of this tree decides, step by step. A step that fails is reported as `failed` and passed over.
    Raises `InvalidError` for a file that is no journal, and for a checkpoint that this core
    cannot read."""
    told, entries = read(path)
    cluster = beginning(path, told)
    for number, (now, event) in enumerate(entries):
        if isinstance(event, AttemptsEnded):  # a journal holds no payloads: what comes back in their place is nothing
            event = msgspec.structs.replace(event, refs=(None,) * len(event.indexes))
        step = {"step": number, "at": now, "event": type(event).__name__}
        try:
            effects = cluster.step(event, now)
        except Exception as error:
            yield {**step, "decided": [], "failed": f"{type(error).__name__}: {error}"}
        else:
            if effects:
                yield {**step, "decided": [msgspec.to_builtins(e) for e in effects]}


def beginning(path: Path, told: dict[str, Any]) -> Cluster:
    """The core as it was before the first event of the journal."""
    if "checkpoint" not in told:
        more = {"quotas": told["quotas"]} if told.get("quotas") else {}  # which an older tree does not know
        return Cluster(told["seed"], **more)
    restored = getattr(Cluster, "restored", None)
    if restored is None:
        raise InvalidError(
            "its core is from before journals had checkpoints, and this one begins with one: such a core replays only"
            " journals that begin with the start of their server"
        )
    try:
        cluster: Cluster = restored(told["checkpoint"])
    except InvalidError as error:
        raise InvalidError(f"{path}: {error}") from None
    return cluster


def elsewhere(path: Path, tree: Path) -> Iterator[dict[str, Any]]:
    """What the core of another tree decides, in a process of its own."""
    source = tree / "src" if (tree / "src" / "inrush").is_dir() else tree
    if not (source / "inrush" / "core").is_dir():
        raise InvalidError(f"{tree} has no src/inrush/core: name the root of a source tree, or a git revision")
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, str(path)],
        env={"PYTHONPATH": str(source), "PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            for line in process.stdout:
                yield json.loads(line)
            error = process.stderr.read()
        finally:
            process.kill()
    if process.returncode:
        raise InvalidError(f"the tree at {tree} cannot replay {path}: {error.strip().splitlines()[-1]}")


def compare(here: Iterator[dict[str, Any]], there: Iterator[dict[str, Any]]) -> Difference | None:
    """Where two streams of decisions part; None where they do not. Sentences (`why`) may differ."""
    while True:
        one, other = next(here, None), next(there, None)
        if one is None and other is None:
            return None
        if one is None or other is None or plain(one) != plain(other):
            return Difference(one, other)


def plain(value: Any) -> Any:
    """A decision without sentences, as JSON has it."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items() if name != "why" and value.get("type") != "Waiting"}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    try:
        for decided in decisions(Path(sys.argv[1])):
            sys.stdout.write(json.dumps(decided) + "\n")
    except InvalidError as error:
        sys.exit(str(error))
