"""What simulated containers compute, and what their nodes report of it: at the times at which real nodes look, from
whether containers compute just then, while those look at threads. Nothing of this happens in a scenario in which
nothing computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inrush.core.model import events
from inrush.sim.agenda import Agenda
from inrush.sim.machines import Machine, Running

FIRST_S, LAST_S, WINDOW_S = 0.02, 1.0, 2.0
"""When nodes look first, how long they pause at most, and over how long they average."""


class Computing:
    """The computing of all containers. `tell` has the core hear of what a node reports."""

    def __init__(self, agenda: Agenda, tell: Callable[[Machine, events.Event], None]) -> None:
        self._agenda, self._tell = agenda, tell
        self._watched: set[tuple[str, str, bool]] = set()

    def spend(
        self, running: Running, seconds: float, cpu_s: float, more_s: float, action: Callable[..., object], *about: Any
    ) -> None:
        """Has something done `more_s` after a container has spent these seconds, of which it computes some. Where
        others compute too, that takes longer."""
        processors = running.machine.processors
        if processors is not None:
            self._watch(running.machine, running.workload.function, running.ready)
        if processors is None or not cpu_s:
            self._agenda.after(seconds + more_s, action, *about)
        else:
            processors.compute(
                running.id, cpu_s, self._agenda.after, max(0.0, seconds - cpu_s) + more_s, action, *about
            )

    def _watch(self, machine: Machine, function: str, serving: bool) -> None:
        """Looks at containers of a function that start, or that serve, as long as there are some."""
        if (machine.id, function, serving) not in self._watched:
            self._watched.add((machine.id, function, serving))
            self._agenda.after(FIRST_S, self._look, machine, function, serving, FIRST_S, 0.0, 0.0)

    def _look(self, machine: Machine, function: str, serving: bool, pause_s: float, mean: float, seen_s: float) -> None:
        here = [c for c in machine.containers.values() if c.workload.function == function]
        working = [c for c in here if (c.ready and c.inputs if serving else not c.ready)]
        if not working or machine.processors is None or machine.dead:
            self._watched.discard((machine.id, function, serving))
            return
        left_s = machine.processors.left_s()
        seen_s = min(seen_s + pause_s, WINDOW_S)
        mean += (sum(c.id in left_s for c in working) / len(working) - mean) * min(1.0, pause_s / seen_s)
        took_s = max(c.start_cpu_s - left_s.get(c.id, 0.0) for c in working)
        use = (mean, -1.0, -1.0) if serving else (-1.0, mean, max(0.0, took_s))
        self._tell(machine, events.CpuUsed(machine.id, ((function, *use),)))
        later_s = min(2 * pause_s, LAST_S)
        self._agenda.after(later_s, self._look, machine, function, serving, later_s, mean, seen_s)
