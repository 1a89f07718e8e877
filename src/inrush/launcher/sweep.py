"""What a launcher leaves on the machine when it is killed, and its removal: cgroups with all in them, links, the nft
table.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from inrush.launcher import network
from inrush.launcher.cgroups import Cgroups, layout

_DEADLINE_S = 10.0


def sweep(tag: str, rootless: bool) -> None:
    """Remove all that is marked as one state directory's. Nothing there is fine."""
    with contextlib.suppress(OSError):
        _sweep_cgroups(tag)
    if not rootless:
        network.sweep(tag)


def _sweep_cgroups(tag: str) -> None:
    cgroups = Cgroups(layout(Path("/proc/self/mountinfo").read_text()), f"inrush-{tag}", can_kill=True)
    deadline = time.monotonic() + _DEADLINE_S
    names = cgroups.names()
    while names and time.monotonic() < deadline:
        for name in names:
            group = cgroups.group(name)
            group.kill()
            group.remove()
        names = cgroups.names()
        if names:
            time.sleep(0.005)
    cgroups.remove_base()
