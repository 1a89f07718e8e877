"""The unit by which systemd runs a server.

Containers live in the unit's control group, so the unit must be delegated, must not be ended for a container that runs
out of memory, and must not bound the processes of all containers by the default of a service. SIGTERM goes to the
server alone, which gives containers their grace. After `inrush server stop` it ends with status 0, and is not started
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_STOP_S = 90
"""Exit hooks of containers have 30 s; twice that and a reserve."""

_UNIT = """\
[Unit]
Description=inrush: Python functions in containers
{after}
[Service]
ExecStart={command}
Environment={home}
Delegate=yes
KillMode=mixed
TimeoutStopSec={stop_s}
OOMPolicy=continue
TasksMax=infinity
Restart=on-failure

[Install]
WantedBy={target}
"""


def unit(command: Sequence[str], home: Path, of_system: bool) -> str:
    """The text of a unit that runs the command with this home, for the system's manager or for a user's."""
    return _UNIT.format(
        after="After=network-online.target\nWants=network-online.target\n" if of_system else "",
        command=" ".join(map(_quoted, command)),
        home=_quoted(f"INRUSH_HOME={home}"),
        stop_s=_STOP_S,
        target="multi-user.target" if of_system else "default.target",
    )


def _quoted(word: str) -> str:
    """A word as systemd reads it: `%` and `$` begin what it replaces."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(c in escaped for c in " \t'\"\\;") else escaped
