"""What a container forked from a zygote or a snapshot has to make its own: chance, environment, thread counts.

All children of one template start with the same state of every generator of random numbers, and OpenSSL's too when
their process ids are equal, as they are in namespaces of their own. Zygotes and snapshots run with one thread per
library (`HELD_THREADS`), since threads do not survive a fork; the user's own counts are put back here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
HELD_THREADS = "INRUSH_HELD_THREADS"
"""Set where those are held at 1: the user's values, as JSON."""


def hold_threads(environ: dict[str, str]) -> dict[str, str]:
    """The environment for a zygote or a snapshot."""
    users = {name: environ[name] for name in THREAD_VARIABLES if name in environ}
    return {**environ, **dict.fromkeys(THREAD_VARIABLES, "1"), HELD_THREADS: json.dumps(users)}


def renew(env: dict[str, str]) -> None:
    """Make this process its own, with the container's environment."""
    _restore_threads(env)
    os.environ.update(env)
    if "TZ" in env:
        time.tzset()
    reseed()


def reseed() -> None:
    """Fresh randomness in every generator that is loaded. Generators that user code has made itself are its own
    affair."""
    loaded = sys.modules
    if "random" in loaded:
        loaded["random"].seed()
    if "numpy.random" in loaded:
        loaded["numpy.random"].seed(int.from_bytes(os.urandom(4)))
    if hasattr(loaded.get("torch"), "manual_seed"):
        loaded["torch"].manual_seed(int.from_bytes(os.urandom(7)))
    if "_ssl" in loaded:
        loaded["_ssl"].RAND_add(os.urandom(32), 32.0)


def _restore_threads(env: dict[str, str]) -> None:
    held = os.environ.pop(HELD_THREADS, None)
    if held is None:
        return
    users: dict[str, str] = {**json.loads(held), **{name: env[name] for name in THREAD_VARIABLES if name in env}}
    for name in THREAD_VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(users)
    _raise_torch(sys.modules.get("torch"), users)


def _raise_torch(torch: Any, users: dict[str, str]) -> None:
    """More threads for a torch that the template has imported: safe, since a template that had run a region on
    several threads would not have been one. A count that user code chose while the template was made stays."""
    if torch is None or not hasattr(torch, "get_num_threads") or getattr(torch, "_inrush_chosen", False):
        return
    wanted = users.get("OMP_NUM_THREADS", "")
    count = int(wanted) if wanted.isdigit() else len(os.sched_getaffinity(0))
    if torch.get_num_threads() == 1 and count > 1:
        torch.set_num_threads(count)
