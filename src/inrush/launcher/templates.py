"""The open templates of a launcher, by key, and when they make berths ahead."""

from __future__ import annotations

import time
from collections.abc import Callable

from inrush.launcher.berths import MAX_READY
from inrush.launcher.launch import Failure
from inrush.launcher.machine import Machine
from inrush.launcher.programs import exit_of
from inrush.launcher.specs import Exited, TemplateSpec
from inrush.launcher.template import Answer, Template

MAX_OPEN = 4_096
"""Templates that one launcher keeps open."""
_QUIET_S = 0.02
"""Without a start; more berths than a few are made only then."""
_LOOK_S, _SHRINK_S = 5.0, 0.02


class Templates:
    """The open ones, by key."""

    def __init__(self, machine: Machine, ended: Callable[[Exited], None]) -> None:
        self._machine = machine
        self._ended = ended
        self._open: dict[str, Template] = {}
        self._numbers = 0
        machine.idlers.append(self._idle)
        self._shrink()

    def get(self, key: str) -> Template | None:
        """An open template."""
        return self._open.get(key)

    def open(self, spec: TemplateSpec, stdio: tuple[int, int], answer: Answer) -> None:
        """Start one. Raises `OSError` where it cannot even begin."""
        if spec.key in self._open:
            answer(Failure("busy", f"template {spec.key!r} is open already"))
            return
        if len(self._open) >= MAX_OPEN:
            answer(Failure("busy", f"{MAX_OPEN} templates are open already"))
            return
        self._numbers += 1
        group = f"template-{spec.key}-{self._numbers}"  # an earlier one of the key may still be on its way out
        self._open[spec.key] = template = Template(self._machine, spec, group, answer, self._forget, self._gone)
        try:
            template.begin(stdio)
        except OSError:
            self._open.pop(spec.key, None)
            raise

    def close(self, key: str) -> None:
        """No more forks from it; it ends when its last container has."""
        template = self._open.pop(key, None)
        if template:
            template.close()

    def forget(self, below: str) -> None:
        """Layers at or below this path are about to be removed."""
        for template in self._open.values():
            template.berths.forget(below)

    def _idle(self) -> bool:
        """Make one berth more, where there are too few and no container is on its way."""
        templates = list(self._open.values())
        if any(template.busy for template in templates):
            return False
        if sum(template.berths.made for template in templates) >= MAX_READY:
            return False
        quiet_s = time.monotonic() - max((template.forked_at for template in templates), default=0.0)
        if any(template.berths.refill(quiet_s >= _QUIET_S) for template in templates):
            return True
        if quiet_s < _QUIET_S:
            self._machine.loop.later(_QUIET_S - quiet_s, lambda: None)  # look again
        return False

    def _shrink(self) -> None:
        """Berths go one after the other: the kernel's locks are needed for starts too."""
        again = any(template.berths.shrink() for template in list(self._open.values()))
        if self._machine.network:
            again |= self._machine.network.trim()
        self._machine.loop.later(_SHRINK_S if again else _LOOK_S, self._shrink)

    def _forget(self, template: Template) -> bool:
        """Whether it was still open."""
        if self._open.get(template.key) is not template:
            return False
        del self._open[template.key]
        return True

    def _gone(self, template: Template, status: int) -> None:
        """A template has ended, by itself if it was still open."""
        if self._forget(template):
            self._ended(Exited(template.key, *exit_of(status)))
        if not any(t.uid_base == template.uid_base for t in self._open.values()):
            self._machine.let_go(template.uid_base)
