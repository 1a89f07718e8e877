"""How many descriptors this process may have open, and how many it has.

A server holds some five for each container, and one for each connection. Programs often start with a limit of 1,024,
for the sake of old code that fails above it, although the hard limit is far higher. So the server raises its own, once
the launcher has been forked: containers keep the limit that the server was started with.
"""

from __future__ import annotations

import os
import resource

GIVEN = resource.getrlimit(resource.RLIMIT_NOFILE)
"""The limits, soft and hard, that this process was started with."""
ENOUGH = 16_384
"""Below this limit, descriptors bound a server before its settings do."""
RESERVE = 128
"""Descriptors for files, the database and new connections: with fewer to spare, no container is started."""


def limit() -> int:
    """The number of descriptors that this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raise_limit() -> None:
    """Raises the limit as far as it goes without privileges."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (GIVEN[1], GIVEN[1]))


def too_low() -> str:
    """A sentence about a limit that is too low, with what to do; empty where it is high enough."""
    most = limit()
    if most >= ENOUGH:
        return ""
    return (
        f"this process may have only {most:,} files open, so it serves fewer connections and containers than its "
        f"settings allow: raise the hard limit to {ENOUGH:,} or more (`ulimit -Hn`, LimitNOFILE= of a systemd unit)"
    )


def short() -> str:
    """A sentence where so many descriptors are open that only the reserve is left; empty where more can be opened."""
    most = limit()
    if len(os.listdir("/proc/self/fd")) < most - RESERVE:
        return ""
    return f"its agent has nearly all of the {most:,} files open that it may (limit of open files)"
