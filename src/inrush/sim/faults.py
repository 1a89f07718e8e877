"""What goes wrong with nodes: they die, fall silent or are slow, and come back or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from inrush.core.model import events
from inrush.sim.chance import uniform
from inrush.sim.gauge import Gauge
from inrush.sim.machines import Machine, Running
from inrush.sim.scenario import Fault


class Struck(Protocol):
    """What faults use of a world."""

    @property
    def seed(self) -> int:
        """Chooses the nodes that are struck."""

    @property
    def machines(self) -> Mapping[str, Machine]:
        """The nodes that there are, by id."""

    @property
    def gauge(self) -> Gauge:
        """Counts nodes that die."""

    def at(self, at: float, action: Callable[..., object], *arguments: Any) -> None:
        """Has something done at a time."""

    def after(self, seconds: float, action: Callable[..., object], *arguments: Any) -> None:
        """Has something done when so much time has passed."""

    def step(self, event: events.Event) -> None:
        """Tells the core of an event."""

    def boot(self, machine: Machine) -> None:
        """Has a node join."""

    def gone(self, running: Running) -> None:
        """Ends a container without a word to the core."""


def plan(world: Struck, fault: Fault) -> None:
    """Schedules a fault at its times."""
    for number in range(fault.times):
        world.at(fault.at_s + number * fault.every_s, _strike, world, fault, number)


def _strike(world: Struck, fault: Fault, number: int) -> None:
    """Strikes nodes that are well, chosen by hashing."""
    strike = {"loss": _lose, "silence": _silence, "slow": _slow, "forgetful": _forget}[fault.kind]
    for machine in chosen(world, fault, number):
        strike(world, fault, machine)


def chosen(world: Struck, fault: Fault, number: int) -> list[Machine]:
    """The nodes that a fault strikes."""
    well = [
        machine
        for machine in world.machines.values()
        if not machine.dead and not machine.silent and fault.pool in ("", machine.pool)
    ]
    key = (fault.kind, fault.at_s, number)
    return sorted(well, key=lambda machine: uniform(world.seed, *key, machine.id))[: fault.nodes]


def _lose(world: Struck, fault: Fault, machine: Machine) -> None:
    machine.dead = True
    world.gauge.node(machine, -1)
    for running in list(machine.containers.values()):
        world.gone(running)
    world.after(fault.noticed_s, _give_up, world, machine)
    if fault.for_s is not None:
        world.after(max(fault.for_s, fault.noticed_s), _rise, world, machine)


def _rise(world: Struck, machine: Machine) -> None:
    if machine.id in world.machines:
        machine.dead = machine.given_up = False
        world.boot(machine)


def _silence(world: Struck, fault: Fault, machine: Machine) -> None:
    machine.silent = True
    if fault.for_s is None or fault.for_s > fault.noticed_s:
        world.after(fault.noticed_s, _give_up, world, machine)
    if fault.for_s is not None:
        world.after(fault.for_s, _hear, world, machine)


def _give_up(world: Struck, machine: Machine) -> None:
    """Has the server notice that a link is gone."""
    machine.given_up = True
    machine.unsaid.clear()
    machine.unheard.clear()
    world.step(events.NodeLeft(machine.id, "its link broke"))


def _hear(world: Struck, machine: Machine) -> None:
    """Restores a link. What waited on both ends goes through; where the server had given the node up, the node joins
    again and reports what still runs."""
    machine.silent = False
    if machine.id not in world.machines:
        return
    if machine.given_up:
        machine.given_up = False
        world.step(events.NodeJoined(machine.id, machine.inventory, tuple(machine.containers), machine.pool))
        return
    unsaid, machine.unsaid = machine.unsaid, []
    unheard, machine.unheard = machine.unheard, []
    for action, *arguments in unheard:
        world.after(0.0, action, *arguments)  # type: ignore[arg-type]
    for event in unsaid:
        world.step(event)


def _slow(world: Struck, fault: Fault, machine: Machine) -> None:
    machine.slowness *= fault.factor
    if fault.for_s is not None:
        world.after(fault.for_s, _recover, machine, fault.factor)


def _forget(world: Struck, fault: Fault, machine: Machine) -> None:
    machine.forgetful = True
    if fault.for_s is not None:
        world.after(fault.for_s, _remember, machine)


def _remember(machine: Machine) -> None:
    machine.forgetful = False


def _recover(machine: Machine, factor: float) -> None:
    machine.slowness /= factor
