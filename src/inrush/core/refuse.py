"""Why a container cannot be placed now, in words: what lacks, and who has it."""

from __future__ import annotations

from collections.abc import Mapping

from inrush.core.containers import Container
from inrush.core.functions import Function
from inrush.core.nodes import Node
from inrush.core.place import accepts, can_ever, cpu_milli, free_type, in_bounds, name
from inrush.core.state import State
from inrush.wire import GpuRequest

HOLDERS_NAMED = 4
"""So many functions are named as holders; the others are counted."""


def refusal(state: State, function: Function) -> str:
    """A sentence for a function that no node has room for."""
    spec = function.spec
    never = can_ever(spec.resources, state.nodes.values(), spec)
    if never is not None:
        return never
    nodes = [node for node in state.nodes.values() if in_bounds(spec, node)]
    if not nodes:
        return "no node has joined"
    sentences = [_no_gpu(state, request, nodes) for request in spec.resources.gpu]
    return "; ".join(filter(None, sentences)) or _no_room(state, function, nodes)


def _no_gpu(state: State, request: GpuRequest, nodes: list[Node]) -> str:
    if any(free_type(request, node) is not None for node in nodes):
        return ""
    total = sum(accepts(request, gpu.type) for node in nodes for gpu in node.inventory.gpus)
    held = {c.id: len(c.gpus) for c in _seated(nodes) if c.gpus and accepts(request, c.gpu_type)}
    return f"no {name(request)} free: {sum(held.values())} of {total} busy with {_holders(state, held)}"


def _no_room(state: State, function: Function, nodes: list[Node]) -> str:
    """The devices are there, but no cpu or memory beside them."""
    resources = function.spec.resources
    if resources.gpu:
        nodes = [n for n in nodes if any(free_type(r, n) is not None for r in resources.gpu)] or nodes
    seated = _seated(nodes)
    if all(node.cpu_milli < cpu_milli(resources) for node in nodes):
        total = sum(node.inventory.cpu for node in nodes)
        used = total - sum(node.cpu_milli for node in nodes) / 1000
        held = {c.id: c.cpu_held_milli / 1000 for c in seated if c.cpu_held_milli}
        return f"no {resources.cpu:g} cpu free: {used:g} of {total:g} held by {_holders(state, held)}"
    total = sum(node.inventory.memory_mib for node in nodes)
    used = total - sum(node.memory_mib for node in nodes)
    held = {c.id: c.memory_mib for c in seated}
    return f"no {resources.memory_mib} MiB of memory free: {used:g} of {total} held by {_holders(state, held)}"


def _seated(nodes: list[Node]) -> list[Container]:
    return [container for node in nodes for container in node.containers.values()]


def _holders(state: State, held: Mapping[str, float]) -> str:
    """`eval (8), other (2)`: who holds how much, most first."""
    amounts: dict[str, float] = {}
    for container_id, amount in held.items():
        holder = state.functions[state.containers[container_id].function].spec.name
        amounts[holder] = amounts.get(holder, 0) + amount
    ranked = sorted(amounts.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{holder} ({amount:g})" for holder, amount in ranked[:HOLDERS_NAMED]]
    if len(ranked) > HOLDERS_NAMED:
        named.append(f"{len(ranked) - HOLDERS_NAMED} others")
    return ", ".join(named) or "nobody"
