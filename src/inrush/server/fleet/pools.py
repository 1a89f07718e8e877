"""The pools that a server has: their providers, and what the core asks of them.

    core ── NodesWanted, NodesReleased ──▶ provider ── NodesFailed ──▶ core
                                              └─ a node comes: its agent says hello, naming the pool ──▶ core

Offers are made when the machine's own agent has joined: what it can serve needs no other node. A provider returns at
once and never raises; one that does is logged as a defect, and the core, told that these nodes will not come, orders
elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from inrush import wire
from inrush.core.cluster import Cluster
from inrush.core.model.effects import NodesReleased, NodesWanted
from inrush.core.model.events import NodeChanged, NodesFailed
from inrush.pools.file import FilePool
from inrush.pools.provider import Provider
from inrush.pools.simulated import SimulatedPool
from inrush.pools.static import StaticPool
from inrush.server.fleet.nodes import Nodes, Send
from inrush.server.fleet.simulated import Simulated
from inrush.server.loop import Loop

log = logging.getLogger(__name__)

FAILED_S = 60.0
"""A pool whose provider raised is passed over for so long."""


class Pools:
    """All pools of the file. Nothing is offered before `start`."""

    def __init__(self, loop: Loop, nodes: Nodes, pools: Sequence[FilePool]) -> None:
        self._loop, self._post, self._nodes = loop, loop.post, nodes
        self._files = {pool.name: pool for pool in pools}
        self._simulated = Simulated(loop, nodes)
        self._began = 0.0
        self.providers: dict[str, Provider] = {}

    def start(self, host: str, send: Send) -> None:
        """Offers the pools. The agent of the node `host`, which has joined and takes its orders by `send`, acts for
        simulated nodes."""
        self._began = asyncio.get_running_loop().time()
        self._simulated.begin(host, send)
        for pool in self._files.values():
            provider: Provider
            if pool.kind == "declared":
                provider = StaticPool(pool.offer(), self._post)
                self._offer(provider)
            else:
                provider = simulated = self._made_up(pool)
                self._offer(provider)
                for _ in range(pool.nodes):
                    simulated.boot()

    def _offer(self, provider: Provider) -> None:
        self.providers[provider.offer.pool] = provider
        self._post(provider.offer.event())

    def _made_up(self, pool: FilePool) -> SimulatedPool:
        offer, clock = pool.offer(), asyncio.get_running_loop().time
        return SimulatedPool(
            offer,
            self._post,
            after=lambda seconds, action: self._simulated.after(seconds, partial(self._safely, pool.name, 1, action)),
            boot=lambda node: self._simulated.boot(node, pool.name, offer.inventory),
            node_s=lambda node: pool.node_s,
            stocked_out=lambda: pool.stocked_out(clock() - self._began),
        )

    def stop(self) -> None:
        """Ends the pools: no more nodes come, and simulated ones leave."""
        self._simulated.end("the server is ending")

    # ── what the core asks for ───────────────────────────────────────────────────────────────────────────────────────

    def order(self, effect: NodesWanted) -> None:
        """Carries out `NodesWanted`."""
        if self._nodes.ending:
            return
        log.info("pool %s: %d ordered: %s", effect.pool, effect.count, effect.why)
        provider = self.providers[effect.pool]
        self._safely(effect.pool, effect.count, partial(provider.order, effect.count))

    def release(self, effect: NodesReleased) -> None:
        """Carries out `NodesReleased`; the core has forgotten these nodes."""
        log.info("pool %s: %s given back: %s", effect.pool, ", ".join(effect.nodes), effect.why)
        self._safely(effect.pool, 0, partial(self.providers[effect.pool].release, effect.nodes))
        for node in effect.nodes:
            self._simulated.remove(node, f"it was given back: {effect.why}")

    def _safely(self, pool: str, count: int, action: Callable[[], None]) -> None:
        """Calls the provider. If that fails, `count` nodes will not come."""
        try:
            action()
        except Exception as error:
            log.exception("a defect: the provider of pool %s failed", pool)
            self._post(NodesFailed(pool, count, f"its provider failed ({type(error).__name__}: {error})", FAILED_S))

    # ── what nodes say ───────────────────────────────────────────────────────────────────────────────────────────────

    def pool_of(self, hello: wire.NodeHello) -> str:
        """The pool that a node belongs to: the one that it names, if that is a declared one."""
        named = self._files.get(hello.pool)
        if not hello.pool or hello.node in self._simulated:
            return hello.pool
        if named is not None and named.kind == "declared":
            _compare(hello, named)
            return hello.pool
        declared = ", ".join(pool.name for pool in self._files.values() if pool.kind == "declared")
        log.warning(
            "node %s says that it is of pool %r, %s; it serves all the same, as one of no pool. Declared pools: %s",
            hello.node,
            hello.pool,
            "which no file of the setting pools has" if named is None else "whose nodes are simulated",
            declared or "none",
        )
        return ""

    def heed(self, state: wire.NodeState) -> None:
        """Takes note of a node's condition. Simulated nodes share that of their machine."""
        self._post(NodeChanged(state.node, state.holds, state.unfit, state.drain))
        self._simulated.heed(state)

    # ── for people ───────────────────────────────────────────────────────────────────────────────────────────────────

    def describe(self) -> list[dict[str, Any]]:
        """The pools as the API shows them."""
        core = self._loop.core
        return [_described(file, core) for file in self._files.values() if file.name in core.pools]


def _compare(hello: wire.NodeHello, pool: FilePool) -> None:
    """Warns where a node has less than the file says of its pool. What the node has counts."""
    gpus = sum(gpu.type == pool.gpu_type.upper() for gpu in hello.inventory.gpus)
    if gpus < pool.gpus:
        has = f"{gpus} {pool.gpu_type.upper()}"
        log.warning("node %s of pool %s has %s, and the file says %d each", hello.node, pool.name, has, pool.gpus)


def _described(file: FilePool, core: Cluster) -> dict[str, Any]:
    pool, now = core.pools[file.name], core.explain_pool(file.name)
    return {
        "name": file.name,
        "kind": file.kind,
        "cloud": file.cloud,
        "region": file.region,
        "labels": file.labels,
        "gpu_type": file.gpu_type.upper(),
        "gpus": file.gpus,
        "cpu": file.cpu,
        "memory_mib": file.memory_mib,
        "price": file.price,
        "nodes": len(pool.nodes),
        "node_ids": list(pool.nodes),
        "coming": now.coming,
        "coming_s": now.coming_s,
        "nodes_max": pool.nodes_max,
        "node_s": pool.node_s,
        "keep_s": pool.patience_s,
        "blocked": now.closed,
        "blocked_s": now.closed_s,
        "told": [f"{ago:.3g} s ago: {text}" for ago, text in now.told],
    }
