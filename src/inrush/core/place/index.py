"""Finding a place among thousands of nodes without looking at all of them.

Nodes of one kind (cloud, region, labels, price, devices) form a `Group`; what a function may use at all is decided once
for a group. In a group, nodes stand by how much they have free: by whole devices of each type, and by cpu in powers of
two. A search walks from the best fit on, and ranks the first `CANDIDATES` nodes that fit, so it costs the same with ten
nodes and with ten thousand; with few nodes it is exact. Nodes that hold the image are looked at beside them.

Who was refused need not look again at nodes where nothing came free since: `freed` keeps a log of those where it did,
and a function remembers how far it had read.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, islice, zip_longest
from typing import NamedTuple

from inrush.core.model.nodes import Kind, Node
from inrush.core.model.state import May
from inrush.core.model.wanted import FAMILIES, Placement, Wanted, inventory_in_bounds, name, share_milli
from inrush.core.place.fit import devices, fits, rank
from inrush.wire import GpuRequest, Inventory

CANDIDATES = 24
"""At most so many nodes that fit are ranked against one another."""

FREED_MAX = 4096
"""Entries of the log of freed nodes. A function that was refused longer ago searches all nodes."""


def _any(request: GpuRequest, gpu_type: str) -> bool:
    return True


def kind_of(inventory: Inventory) -> Kind:
    """What nodes of one group have in common."""
    counts: dict[str, int] = {}
    for gpu in inventory.gpus:
        counts[gpu.type] = counts.get(gpu.type, 0) + 1
    return inventory.cloud, inventory.region, inventory.labels, inventory.price, tuple(sorted(counts.items()))


class Group:
    """Nodes of one kind. `by_free[type][n]` holds those with n wholly free devices, `shared[type]` those with a shared
    device, and `by_cpu[n]` those whose free cpu has n bits. The node changed last stands last."""

    def __init__(self, index: Index, kind: Kind, inventory: Inventory) -> None:
        self.index, self.kind, self.inventory, self.price = index, kind, inventory, inventory.price
        self.devices = sum(count for _, count in kind[4])
        self.by_free: dict[str, list[dict[str, Node]]] = {t: [{} for _ in range(n + 1)] for t, n in kind[4]}
        self.shared: dict[str, dict[str, Node]] = {t: {} for t, _ in kind[4]}
        self.by_cpu: list[dict[str, Node]] = [{} for _ in range(40)]
        self._where: dict[str, list[dict[str, Node]]] = {}

    def changed(self, node: Node) -> None:
        """Puts a node on the shelves for what it has free now."""
        self.drop(node)
        if node.aside:
            return
        shelves = [self.by_cpu[max(0, node.cpu_milli).bit_length()]]
        for gpu_type, free in node.gpus.items():
            if free:
                shelves.append(self.by_free[gpu_type][len(free)])
            if node.parts.get(gpu_type):
                shelves.append(self.shared[gpu_type])
        for shelf in shelves:
            shelf[node.id] = node
        self._where[node.id] = shelves

    def freed(self, node: Node) -> None:
        """Puts a node on its shelves, and logs that there may be room on it."""
        self.changed(node)
        self.index.freed(node)

    def drop(self, node: Node) -> None:
        """Takes a node off all shelves."""
        for shelf in self._where.pop(node.id, ()):
            del shelf[node.id]

    def standing(self) -> list[Node]:
        """Nodes that can be found, in their order on every shelf. Telling of a change of each in this order rebuilds
        the same shelves."""
        return [shelves[0][id] for id, shelves in self._where.items()]

    def shelves(self, request: GpuRequest | None, gpu_type: str) -> list[dict[str, Node]]:
        """Shelves of nodes that may fit, from the best fit on."""
        if request is None:
            return self.by_cpu[::-1]
        whole = self.by_free.get(gpu_type, [])[request.count :]
        return [self.shared.get(gpu_type, {}), *whole] if request.share < 1 else whole


class Standing(NamedTuple):
    """What of an index does not follow from its nodes: the order in which they stand, and the log."""

    groups: list[tuple[Inventory, list[Node]]]
    """For each group: the inventory of its first node, which tells its kind, and its nodes in order."""
    holders: dict[str, dict[str, Node]]
    freed: list[Node]
    """The log of freed nodes, some of which may have left."""
    forgotten: int


class Index:
    """All nodes by kind, and a log of where something became free."""

    def __init__(self) -> None:
        self.groups: dict[Kind, Group] = {}
        self.holders: dict[str, dict[str, Node]] = {}
        """Nodes by the images that they hold."""
        self._freed: list[Node] = []
        self._forgotten = 0

    @classmethod
    def again(cls, standing: Standing, nodes: Iterable[Node]) -> Index:
        """An index of these nodes in which they stand in this order."""
        index = cls()
        for inventory, _ in standing.groups:
            kind = kind_of(inventory)
            index.groups[kind] = Group(index, kind, inventory)
        for node in nodes:
            node.group = index.groups[kind_of(node.inventory)]
        for group, (_, here) in zip(index.groups.values(), standing.groups, strict=True):
            for node in here:
                group.changed(node)
        index.holders, index._freed, index._forgotten = standing.holders, standing.freed, standing.forgotten
        return index

    def standing(self) -> Standing:
        """Everything that `again` needs beside the nodes."""
        groups = [(group.inventory, group.standing()) for group in self.groups.values()]
        return Standing(groups, self.holders, self._freed, self._forgotten)

    def add(self, node: Node) -> None:
        """Takes in a node, or takes it in again after its inventory changed."""
        self.remove(node)
        kind = kind_of(node.inventory)
        group = self.groups.get(kind)
        if group is None:
            group = self.groups[kind] = Group(self, kind, node.inventory)
        node.group = group
        for digest in sorted(node.holds):
            self.holders.setdefault(digest, {})[node.id] = node
        node.freed()

    def remove(self, node: Node) -> None:
        """Forgets a node."""
        if node.group is not None:
            node.group.drop(node)
            node.group = None
        for digest in node.holds:
            self._unhold(node, digest)

    def hold(self, node: Node, holds: frozenset[str]) -> None:
        """Takes note of the images and snapshots that a node holds now."""
        for digest in node.holds - holds:
            self._unhold(node, digest)
        for digest in sorted(holds - node.holds):
            self.holders.setdefault(digest, {})[node.id] = node
        node.holds = holds

    def _unhold(self, node: Node, digest: str) -> None:
        nodes = self.holders.get(digest, {})
        nodes.pop(node.id, None)
        if not nodes:
            self.holders.pop(digest, None)

    # ── the log ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def read(self) -> int:
        """How far the log of freed nodes has come."""
        return self._forgotten + len(self._freed)

    def freed(self, node: Node) -> None:
        """Logs that a node has more room than before."""
        if self._freed and self._freed[-1] is node:
            self._freed.pop()
            self._forgotten += 1  # so that a reader who has seen the entry sees it again
        self._freed.append(node)
        if len(self._freed) > FREED_MAX:
            del self._freed[: FREED_MAX // 2]
            self._forgotten += FREED_MAX // 2

    def freed_since(self, read: int) -> list[Node] | None:
        """Nodes with more room than when the log had come to `read`; None when that is too long ago."""
        if read < 0 or read < self._forgotten:
            return None
        return list(dict.fromkeys(self._freed[read - self._forgotten :]))

    # ── searching ────────────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, want: Wanted, among: list[Node] | None = None, may: May = _any) -> Placement | None:
        """The best place for one more container, of all nodes or of those `among` given; None when there is none. `may`
        says whether a request may be met with a type of device at all."""
        groups = self._allowed(want)
        for request in want.spec.resources.gpu or (None,):
            for gpu_type in self._types(request, groups):
                if request is not None and not may(request, gpu_type):
                    continue
                if among is None:
                    found = self._search(want, request, gpu_type, groups)
                else:
                    here = set(map(id, groups))
                    found = [n for n in among if id(n.group) in here and _fits_there(want, request, gpu_type, n)]
                if found:
                    best = min(found, key=lambda node: rank(want, request, node))
                    return _placed(best, request, gpu_type, len(found))
        return None

    def _allowed(self, want: Wanted) -> list[Group]:
        """Groups that the function may use, the cheapest first."""
        groups = [group for group in self.groups.values() if inventory_in_bounds(want.spec, group.inventory)]
        first = (want.spec.resources.gpu or (None,))[0]
        return sorted(groups, key=lambda group: _tier(first, group))

    @staticmethod
    def _types(request: GpuRequest | None, groups: list[Group]) -> Iterable[str]:
        if request is None:
            return ("",)
        if request.type == "ANY":
            return dict.fromkeys(gpu_type for group in groups for gpu_type in group.by_free)
        return FAMILIES.get(request.type, (request.type,))

    def _search(self, want: Wanted, request: GpuRequest | None, gpu_type: str, groups: list[Group]) -> list[Node]:
        """The first nodes that fit, of the cheapest groups that have any, with nodes that hold the image."""
        found: dict[str, Node] = {}
        for _, tier in groupby(groups, lambda group: _tier(request, group)):
            levels = zip_longest(*(group.shelves(request, gpu_type) for group in tier), fillvalue={})
            nodes = (node for level in levels for shelf in level for node in shelf.values())
            fitting = (node for node in nodes if fits(want, request, gpu_type, node))
            found.update((node.id, node) for node in islice(fitting, CANDIDATES))
            if found:
                break
        holders = self.holders.get(want.image, {}) if want.image else {}
        if found and len(holders) <= CANDIDATES:
            found.update(
                (n.id, n) for n in holders.values() if _may(want, n) and _fits_there(want, request, gpu_type, n)
            )
        return list(found.values())


def _tier(request: GpuRequest | None, group: Group) -> tuple[float, int]:
    """The order of groups: cheap ones first, and for a container without a GPU those without GPUs first."""
    return group.price, group.devices if request is None else 0


def _may(want: Wanted, node: Node) -> bool:
    return inventory_in_bounds(want.spec, node.inventory)


def _fits_there(want: Wanted, request: GpuRequest | None, gpu_type: str, node: Node) -> bool:
    return (request is None or gpu_type in node.gpus) and fits(want, request, gpu_type, node)


def _placed(node: Node, request: GpuRequest | None, gpu_type: str, among: int) -> Placement:
    what = "room" if request is None else f"{name(request, gpu_type)} free"
    nodes = f"1 node with {what}" if among == 1 else f"{among} nodes with {what}"
    if among >= CANDIDATES:
        nodes = f"the first {nodes}"
    share = share_milli(request) if request is not None else 1000
    why = f"{node.id} is the best of {nodes}"
    return Placement(node.id, gpu_type, devices(request, gpu_type, node), share, why)
