"""Nodes that are made up, and whose containers run all the same: on this machine.

To placing, a simulated node is a node like any other, with cpu, memory and cards of its own. None of them is there:
what is ordered of it goes to the agent of this machine, which knows a container by its id alone, whatever node it is
said to be on. So ten nodes of 64 cores promise 640 of the few that there are.

What holds of the machine holds of them: when its agent says that it is unfit, they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from inrush import wire
from inrush.core.model.events import NodeChanged
from inrush.server.fleet.nodes import Nodes, Send
from inrush.server.loop import Loop


class Simulated:
    """All simulated nodes of a server, and their timers."""

    def __init__(self, loop: Loop, nodes: Nodes) -> None:
        self._post, self._nodes = loop.post, nodes
        self._host = ""
        self._send: Send = lambda batch: None
        self._there: dict[str, None] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._unfit, self._drain = "", False

    def __contains__(self, node: str) -> bool:
        return node in self._there

    def begin(self, host: str, send: Send) -> None:
        """Has the agent of the node `host`, which takes its orders by `send`, act for simulated nodes from now on."""
        self._host, self._send = host, send

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Has something done later, unless the server ends before."""

        def due() -> None:
            self._timers.discard(timer)
            action()

        timer = asyncio.get_running_loop().call_later(seconds, due)
        self._timers.add(timer)

    def boot(self, node: str, pool: str, inventory: wire.Inventory) -> None:
        """Has a simulated node say hello."""

        def take(batch: list[Any]) -> None:
            orders = [_with_cards(order, inventory) for order in batch if type(order) is not wire.Prepare]
            if orders:  # what to prepare the machine's agent was told already, as its own
                self._send(orders)

        self._there[node] = None
        self._nodes.attach(take)([wire.NodeHello(node, inventory, pool=pool)])
        if self._unfit:
            self._post(NodeChanged(node, (), self._unfit, self._drain))

    def remove(self, node: str, why: str) -> None:
        """Removes a node that was given back."""
        if node in self._there:
            del self._there[node]
            self._nodes.detach(node, why)

    def heed(self, state: wire.NodeState) -> None:
        """Takes note of a node's condition."""
        if state.node != self._host or (state.unfit, state.drain) == (self._unfit, self._drain):
            return
        self._unfit, self._drain = state.unfit, state.drain
        for node in self._there:
            self._post(NodeChanged(node, (), state.unfit, state.drain))

    def end(self, why: str) -> None:
        """Removes all simulated nodes, and has no more come."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for node in list(self._there):
            self.remove(node, why)


def _with_cards(order: Any, inventory: wire.Inventory) -> Any:
    """An order with the simulated node's own cards, which the machine's agent does not know."""
    if type(order) is not wire.StartContainer or not order.gpus:
        return order
    cards = {gpu.index: gpu for gpu in inventory.gpus}
    return msgspec.structs.replace(order, cards=tuple(cards[index] for index in order.gpus))
