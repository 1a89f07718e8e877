"""What a started container is to the agent, whichever way it was started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from inrush.launcher.specs import Exited


class Process(Protocol):
    """A running container: its end can be waited for, and it can be ended."""

    async def wait(self) -> Exited: ...

    def kill(self) -> None:
        """Ends it; harmless when it has ended."""


@dataclass(frozen=True)
class Begun:
    """`how` names the tier of the start; `load` is what its guest is to be told, with payloads; `phases_ms` are the
    start's parts in order; `why` is what it lacks of what was asked."""

    process: Process
    how: str
    load: dict[str, Any]
    payloads: tuple[bytes, ...] = ()
    phases_ms: tuple[tuple[str, float], ...] = ()
    why: str = ""
    imported: Callable[[list[tuple[str, float]]], None] = lambda imports: None
    """Hears what its guest imported."""


@dataclass(frozen=True)
class Stdio:
    """Descriptors for a container: the guest's socket and two pipes. Whoever starts it duplicates what it keeps."""

    guest: int
    stdout: int
    stderr: int
