"""Ids are 128 random bits: knowing one does not help to guess another. Ids of a program's calls begin with the time."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from inrush.client import _link
from inrush.core.cluster import Cluster
from inrush.core.model.state import State
from inrush.core.model.tuning import TUNING

SOURCES = Path(__file__).parents[2] / "src" / "inrush"


def test_ids_of_calls_have_nothing_in_common() -> None:
    ids = [_link.new_call() for _ in range(1000)]
    assert all(re.fullmatch(r"ca-[0-9a-f]{44}", id) for id in ids)
    assert len(set(ids)) == 1000
    assert len({id[15:23] for id in ids}) > 990, "after the time, not a base and a number"
    assert len({id[-8:] for id in ids}) > 990


def test_a_forked_process_draws_ids_of_its_own() -> None:
    _link.new_call()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, "".join(_link.new_call() for _ in range(40)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    theirs = os.read(read, 4096).decode()
    os.close(read)
    os.close(write)
    assert not [id for id in (_link.new_call() for _ in range(40)) if id in theirs]


def test_ids_of_containers_take_a_seed_that_nobody_is_told() -> None:
    state = State("seed", TUNING)
    ids = {state.container_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"co-[a-z2-7]{26}", id) for id in ids), "128 bits"
    assert State("seed", TUNING).container_id() in ids, "the simulator's are the same each time"
    assert State("other", TUNING).container_id() not in ids


async def test_the_seed_of_a_server_is_not_what_it_tells_clients(tmp_path: Path) -> None:
    from inrush import settings
    from inrush.server.control import ControlPlane

    control = ControlPlane(tmp_path, settings.load({}, {"INRUSH_HOME": str(tmp_path)}))
    core: Cluster = control.loop.core
    assert core.seed != control.boot
    assert len(bytes.fromhex(core.seed)) == 16


NO_IDS = {
    "guest/randomness.py: 4": "the seed of numpy's generator",
    "guest/randomness.py: 7": "the seed of torch's",
    "launcher/trees.py: 8": "a name in a directory of root's, for what is removed next",
    "server/payloads/blobs.py: 4": "the end of the name of a file that is being written, behind its blob's id",
    "server/secrets/key.py: 12": "nonces of AES-GCM, which have this size and need not be secret",
}
COUNTED = {
    "cli/commands/bench/rivals/oci.py: ib-": "containers of another runtime, which the benchmark starts",
    "pools/simulated.py: no-": "simulated nodes",
    "server/links/asks.py: up-": "uploads of one link, by the number that its client gave them",
    "sim/scenario.py: fn-": "the simulator's functions",
    "sim/world.py: ca-": "the simulator's calls",
}
"""Names that look like ids, and need not be hard to tell."""

_DRAWN = re.compile(r"token_|urandom|digest|_process|chance|partition|time_ns")


def test_what_is_drawn_with_fewer_than_128_bits_is_no_id() -> None:
    drawn = list(_found(_sizes))
    assert len(drawn) > 20
    assert {f"{place}: {size}" for place, size in drawn if size < 16} == set(NO_IDS)


def test_no_generator_is_used_that_can_be_predicted() -> None:
    assert {place for place, module in _found(_modules) if module in ("random", "uuid")} == set()


def test_an_id_is_drawn_or_a_digest_of_128_bits() -> None:
    made = list(_found(_ids))
    assert len(made) > 20
    assert {f"{place}: {prefix}" for place, (prefix, rest) in made if not _DRAWN.search(rest)} == set(COUNTED)
    assert {f"{place}: {characters}" for place, characters in _found(_cut_digests) if characters < 32} == set()


def _found(look: Callable[[ast.AST], Iterator[Any]]) -> Iterator[tuple[str, Any]]:
    """What is found in the nodes of all sources, with where it is."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for found in look(node):
                yield str(path.relative_to(SOURCES)), found


def _sizes(node: ast.AST) -> Iterator[int]:
    """How many bytes are drawn; of a product, by its first factor."""
    if isinstance(node, ast.Call) and re.search(r"\b(token_[a-z]+|urandom|randbytes)$", ast.unparse(node.func)):
        (size,) = node.args
        yield int(ast.unparse(size).partition(" * ")[0])


def _modules(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""


def _ids(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Prefixes of ids, and what they are put before."""
    match node:
        case ast.JoinedStr(values=[ast.Constant(value=str(prefix)), _, *_]) if re.fullmatch(r"[a-z]{2}-", prefix):
            yield prefix, ast.unparse(node)
        case ast.BinOp(left=ast.Constant(value=str(prefix)), op=ast.Add()) if re.fullmatch(r"[a-z]{2}-", prefix):
            yield prefix, ast.unparse(node.right)


def _cut_digests(node: ast.AST) -> Iterator[int]:
    match node:
        case ast.Subscript(value=ast.Call(func=ast.Attribute(attr="hexdigest")), slice=ast.Slice(upper=ast.Constant())):
            yield int(node.slice.upper.value)
