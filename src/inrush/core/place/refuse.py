"""Why a container cannot be placed now, as a sentence that says what lacks and who holds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from inrush.core.model.containers import WHOLE, Container
from inrush.core.model.functions import Function
from inrush.core.model.nodes import Node, cpu_to_give
from inrush.core.model.quotas import exceeded
from inrush.core.model.state import State
from inrush.core.model.wanted import accepts, cpu_milli, in_bounds, milli_of, name
from inrush.core.place.crowd import crowded
from inrush.core.place.fit import has_devices, kinds_of
from inrush.core.place.never import can_ever
from inrush.wire import GpuRequest

HOLDERS_NAMED = 4
"""So many functions are named as holders; the others are counted."""

KEPT_S = 1.0
"""Functions whose containers have been idle for less than this are not mentioned."""


def refusal(state: State, function: Function) -> str:
    """A sentence for a function that no node has room for."""
    spec = function.spec
    quota = over_quota(state, function)
    if quota:
        return quota
    kinds = {(id(n.group), n.inventory.cpu, n.inventory.memory_mib): n for n in state.nodes.values()}
    never = can_ever(spec.resources, kinds.values(), spec)
    if never is not None:
        return never
    nodes = [node for node in state.nodes.values() if in_bounds(spec, node)]
    if not nodes:
        return "no node has joined"
    fit = [node for node in nodes if not node.aside]
    aside = "; ".join(f"{node.id} is set aside: {node.aside}" for node in nodes if node.aside)
    if not fit:
        return aside
    if crowded(state, function):
        uses = f"each of its containers uses {function.measured.use:.2g} cores"
        return f"the processors of its nodes are busy: {uses}, and more would make none faster"
    sentences = [_no_gpu(state, function, request, fit) for request in spec.resources.gpu]
    text = "; ".join(filter(None, sentences))
    if spec.cluster_size > 1:
        there = f"only {len(function.places)} of its {spec.cluster_size} containers, which start together, have a place"
        text = f"{there}; {text}" if text else there
    text = text or _no_room(state, function, fit)
    return f"{text}; {aside}" if aside else text


def over_quota(state: State, function: Function) -> str:
    """Why the quotas of its app refuse another container; empty when they do not."""
    if function.app not in state.quotas or not function.spec.resources.gpu:
        return ""
    used = state.used.get(function.app, {})
    size = max(1, function.spec.cluster_size)
    requests = function.spec.resources.gpu
    reasons = [exceeded(state.quotas, function.app, used, r.type, size * milli_of(r)) for r in requests]
    return reasons[0] if all(reasons) else ""


def _no_gpu(state: State, function: Function, request: GpuRequest, nodes: list[Node]) -> str:
    if any(_has(function, request, node) for node in nodes):
        return ""
    kinds = Counter(node.group.kind for node in nodes if node.group is not None)
    total = sum(n * count for kind, n in kinds.items() for t, count in kind[-1] if accepts(request, t))
    types = {t for kind in kinds for t, _ in kind[-1] if accepts(request, t)}
    held = ((c, len(c.gpus) * c.share_milli / WHOLE) for c in _seated(nodes) if c.gpu_type in types and c.gpus)
    busy, holders = _holders(state, function, held)
    text = f"no {name(request)} free: {busy:g} of {total} busy with {holders}"
    scattered = total - busy >= request.count > 1
    kept = sum(c.devices for n in nodes if n.claims for owner, c in n.claims.items() if owner != function.id)
    text += "".join(f"; {words}" for words in _kept_warm(state, function, types))
    return text + ("; those free are on several nodes" if scattered else "") + (f"; {kept} kept" if kept else "")


def _kept_warm(state: State, function: Function, types: set[str]) -> Iterator[str]:
    """Functions that keep containers idle and need not give them up."""
    for owner in islice((f for f in state.functions.values() if f.idle and f is not function), HOLDERS_NAMED):
        kept = (c for c in owner.idle.values() if c.gpu_type in types and state.now - c.idle_since >= KEPT_S)
        idle = sum(len(c.gpus) * c.share_milli for c in kept) / WHOLE
        if idle and owner.spec.priority > function.spec.priority:
            yield f"{owner.named_to(function)} keeps {idle:g} idle, by its higher priority"
        elif idle and owner.live <= owner.policy.min_containers:
            yield f"{owner.named_to(function)} keeps {idle:g} idle, by its min_containers"


def _no_room(state: State, function: Function, nodes: list[Node]) -> str:
    """A sentence for the case that devices are free, but no cpu or memory beside them."""
    resources = function.spec.resources
    if resources.gpu:
        nodes = [n for r in resources.gpu for n in nodes if _has(function, r, n)] or nodes
    seated = _seated(nodes)
    if all(node.cpu_milli < cpu_milli(resources) for node in nodes):
        total = sum(cpu_to_give(node.inventory) for node in nodes) / 1000
        used = total - sum(node.cpu_milli for node in nodes) / 1000
        _, holders = _holders(state, function, ((c, c.cpu_held_milli / 1000) for c in seated if c.cpu_held_milli))
        return f"no {resources.cpu:g} cpu free: {used:g} of {total:g} held by {holders}"
    total = sum(node.inventory.memory_mib for node in nodes)
    used = total - sum(node.memory_mib for node in nodes)
    _, holders = _holders(state, function, ((c, c.memory_mib) for c in seated))
    templates = sum(node.held_mib for node in nodes)
    beside = f" and {templates} MiB by the snapshots and zygotes behind them" if templates else ""
    return f"no {resources.memory_mib} MiB of memory free: {used:g} of {total} held by {holders}{beside}"


def _has(function: Function, request: GpuRequest, node: Node) -> bool:
    want = function.want
    assert want is not None
    return any(has_devices(want, request, gpu_type, node) for gpu_type in kinds_of(request, node))


def _seated(nodes: list[Node]) -> Iterator[Container]:
    return (container for node in nodes for container in node.containers.values())


def _holders(state: State, function: Function, held: Iterable[tuple[Container, float]]) -> tuple[float, str]:
    """How much these containers hold together, and how much each function, most first: `eval (8), other (2)`."""
    per_function: dict[str, float] = {}
    for container, amount in held:
        per_function[container.function] = per_function.get(container.function, 0) + amount
    amounts: dict[str, float] = {}
    for function_id, amount in per_function.items():
        holder = state.functions[function_id].named_to(function)
        amounts[holder] = amounts.get(holder, 0) + amount
    ranked = sorted(amounts.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{holder} ({amount:g})" for holder, amount in ranked[:HOLDERS_NAMED]]
    if len(ranked) > HOLDERS_NAMED:
        named.append(f"{len(ranked) - HOLDERS_NAMED} others")
    return sum(amounts.values()), ", ".join(named) or "nobody"
