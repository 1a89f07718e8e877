"""What a started container is to the agent, whichever way it was started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from inrush.agent.launcher.specs import Exited


class Process(Protocol):
    """A running container: its end can be waited for, and it can be ended."""

    async def wait(self) -> Exited: ...

    def kill(self) -> None: ...


@dataclass(frozen=True)
class Begun:
    """`how` names the tier of the start, `phases_ms` its parts in order, `why` what it lacks of what was asked."""

    process: Process
    how: str
    phases_ms: tuple[tuple[str, float], ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Stdio:
    """Descriptors for a container, owned by whoever holds this until they are handed over: the guest's socket and two pipes."""

    guest: int
    stdout: int
    stderr: int

    def all(self) -> tuple[int, int, int]:
        return (self.guest, self.stdout, self.stderr)
