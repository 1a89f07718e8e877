"""What a container forked from a zygote or a snapshot has to make its own: chance, environment, torch's threads.

All children of one template start with the same state of every generator of random numbers, and OpenSSL's too when
their process ids are equal, as they are in namespaces of their own. Templates run with one thread per library, since
threads do not survive a fork; a torch that a snapshot has imported gets more in its children.
"""

from __future__ import annotations

import os
import sys
import time
from types import ModuleType

from inrush.guest.imports import after_import


def renew(env: dict[str, str]) -> None:
    """Make this process its own, with the container's environment."""
    os.environ.update(env)
    if "TZ" in env:
        time.tzset()
    reseed()


def reseed() -> None:
    """Fresh randomness in every loaded generator. Those that user code has made itself are its own affair."""
    loaded = sys.modules
    if "random" in loaded:
        loaded["random"].seed()
    if "numpy.random" in loaded:
        loaded["numpy.random"].seed(int.from_bytes(os.urandom(4)))
    if hasattr(loaded.get("torch"), "manual_seed"):
        loaded["torch"].manual_seed(int.from_bytes(os.urandom(7)))
    if "_ssl" in loaded:
        loaded["_ssl"].RAND_add(os.urandom(32), 32.0)


class TorchThreads:
    """How many threads torch gets in the children of a snapshot.

    A template that ran a region on several threads would not have settled to one, so raising the number is safe. A
    number that user code set while the snapshot was made stays; it is set again all the same, since the first to set
    one after a fork makes torch's pool anew, and two threads that do so at once find none ("Invalid thread pool!").
    """

    def __init__(self) -> None:
        self._torch: ModuleType | None = None
        self._chosen = False
        after_import("torch", self._watch)

    def _watch(self, torch: ModuleType) -> None:
        self._torch = torch
        set_number = getattr(torch, "set_num_threads", None)
        if set_number is None:
            return

        def chosen(number: int) -> None:
            self._chosen = True
            set_number(number)

        torch.__dict__["set_num_threads"] = chosen
        self._set_number = set_number

    def restore(self) -> None:
        """In a child, after its environment has been set."""
        torch = self._torch
        if torch is None or not hasattr(self, "_set_number"):
            return
        torch.__dict__["set_num_threads"] = self._set_number
        wanted = os.environ.get("OMP_NUM_THREADS", "")
        number = int(wanted) if wanted.isdigit() else len(os.sched_getaffinity(0))
        self._set_number(torch.get_num_threads() if self._chosen else max(1, number))
