"""The one link of this process: opened when first needed, given by the guest in a container, never shared by a fork."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from inrush.errors import InvalidError

if TYPE_CHECKING:
    from inrush.client._connection import Link

_link: Link | None = None
_lock = threading.Lock()
_process = os.urandom(16).hex()

_IDS_AT_ONCE = 64
_ids: list[str] = []
"""Drawn ahead, since a system call costs more than the rest of an id; a fork must not share them."""


def new_call() -> str:
    """An id for a call: the millisecond in which it is made, and 128 random bits, so that whoever knows one of a
    process cannot tell the next. The time keeps rows of one moment together in the database, which then writes fewer
    pages.
    """
    made = f"ca-{time.time_ns() >> 20:012x}"
    try:
        return made + _ids.pop()
    except IndexError:
        drawn = os.urandom(16 * _IDS_AT_ONCE).hex()
        _ids.extend(drawn[at : at + 32] for at in range(32, len(drawn), 32))
        return made + drawn[:32]


async def current() -> Link:
    """The link of this process, connected. The first one starts the local server if there is none."""
    link = _link
    if link is None or not link.alive:
        link = _open()
    await link.ready
    return link


def _open() -> Link:
    global _link
    with _lock:
        if _link is None or not _link.alive:
            if os.environ.get("INRUSH_IS_REMOTE"):
                raise InvalidError(
                    "calls from a container are made by its own process, once it has been set up: "
                    "not by a process forked from it, and not while a memory snapshot is prepared"
                )
            from inrush.client._connection import Link
            from inrush.client._local import connect

            _link = Link(connect, f"cl-{_process}")
            _link.start()
        return _link


def use_guest(send: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """In a container: `send` takes a frame (a batch of `FromClient`) to the agent, from any thread, one at a time.
    Returns what is to be called with each frame (a batch of `ToClient`) that comes back, by a thread that never
    waits for user code."""
    global _link
    from inrush.client._connection import Link

    _forget()
    link = Link(None, f"cl-{_process}")
    link.attach(_GuestTransport(send))
    _link = link
    return link.deliver


class _GuestTransport:
    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.send = send

    def receive(self) -> bytes | None:
        return None

    def close(self) -> None:
        return

    def shared(self) -> None:
        return None

    def drop(self) -> None:
        return


def _forget() -> None:
    """After a fork: the connection and its ids are the parent's."""
    global _link, _lock, _ids, _process
    inherited, _link = _link, None
    if inherited is not None:
        inherited.drop()
    _lock = threading.Lock()
    _ids = []
    _process = os.urandom(16).hex()


def disconnect() -> None:
    """Closes this process's link; the next call opens another."""
    global _link
    with _lock:
        link, _link = _link, None
    if link is not None:
        link.shut()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
