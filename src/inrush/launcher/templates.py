"""The open templates of a launcher, and the times at which they make berths ahead."""

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
"""The most templates that one launcher keeps open."""
_QUIET_S = 0.02
"""After this time without a start, all wanted berths are made ahead; before that only a few."""
_LOOK_S, _SHRINK_S = 5.0, 0.02


class Templates:
    """The open templates, by key."""

    def __init__(self, machine: Machine, ended: Callable[[Exited], None]) -> None:
        self._machine = machine
        self._ended = ended
        self._open: dict[str, Template] = {}
        self._numbers = 0
        machine.idlers.append(self._idle)
        self._shrink()

    def get(self, key: str) -> Template | None:
        """The open template of this key; None if there is none."""
        return self._open.get(key)

    def open(self, spec: TemplateSpec, stdio: tuple[int, int], answer: Answer, forget: Callable[[], None]) -> None:
        """Starts a template, and calls `forget` when it has ended. Raises `OSError` if it cannot begin."""
        if spec.key in self._open or len(self._open) >= MAX_OPEN:
            forget()
            is_open = spec.key in self._open
            wrong = f"template {spec.key!r} is open already" if is_open else f"{MAX_OPEN} templates are open already"
            answer(Failure("busy", wrong))
            return
        self._numbers += 1
        group = f"template-{spec.key}-{self._numbers}"  # an earlier template of the key may still be ending

        def gone(template: Template, status: int) -> None:
            forget()
            self._gone(template, status)

        self._open[spec.key] = template = Template(self._machine, spec, group, answer, self._forget, gone)
        try:
            template.begin(stdio)
        except OSError:
            self._open.pop(spec.key, None)
            raise

    def close(self, key: str) -> None:
        """Closes a template: nothing more is forked from it, and it ends when its last container has."""
        template = self._open.pop(key, None)
        if template:
            template.close()

    def forget(self, below: str) -> None:
        """Frees the berths with layers at or below a path that is about to be removed."""
        for template in self._open.values():
            template.berths.forget(below)

    def _idle(self) -> bool:
        """Makes one more berth if there are too few and no container is being started. Returns whether it did."""
        templates = list(self._open.values())
        if any(template.busy for template in templates):
            return False
        if sum(template.berths.made for template in templates) >= MAX_READY:
            return False
        quiet_s = time.monotonic() - max((template.forked_at for template in templates), default=0.0)
        if any(template.berths.refill(quiet_s >= _QUIET_S) for template in templates):
            return True
        if quiet_s < _QUIET_S:
            self._machine.loop.later(_QUIET_S - quiet_s, lambda: None)  # wakes the loop, which then calls this again
        return False

    def _shrink(self) -> None:
        """Frees berths that are not needed, one at a time, since that takes kernel locks which starts need too."""
        again = any(template.berths.shrink() for template in list(self._open.values()))
        if self._machine.network:
            again |= self._machine.network.trim()
        self._machine.loop.later(_SHRINK_S if again else _LOOK_S, self._shrink)

    def _forget(self, template: Template) -> bool:
        """Removes a template from the open ones. Returns whether it was among them."""
        if self._open.get(template.key) is not template:
            return False
        del self._open[template.key]
        return True

    def _gone(self, template: Template, status: int) -> None:
        """Handles the end of a template, which ended by itself if it was still open."""
        if self._forget(template):
            self._ended(Exited(template.key, *exit_of(status)))
        if not any(t.uid_base == template.uid_base for t in self._open.values()):
            self._machine.let_go(template.uid_base)
