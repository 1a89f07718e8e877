"""The maker: a process in an app's user namespace that makes, ahead and beside the launcher, what takes the kernel
long and can only be made from in there: network namespaces, and whole sandboxes.

    launcher ── {"nets": n}                 ──▶ maker    n answers, each with a network namespace
             ── {"sandbox": …} root, binds  ──▶          an answer with the namespaces of a container whose root is made

It is a fork of the launcher, runs no code of users, and cannot be seen from any container. Answers come in the order
of the requests.
"""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from inrush.launcher.loop import Loop
from inrush.linux import links, messages, mounts, namespaces, process, roots

NAMESPACES = {
    "net": namespaces.NEWNET,
    "ipc": namespaces.NEWIPC,
    "uts": namespaces.NEWUTS,
    "mnt": namespaces.NEWNS,
}
"""What a sandbox has, in the order of its descriptors and in which they are joined: with `mnt` the root changes."""

Done = Callable[[list[int], str], None]
"""Gets the descriptors of an answer, or none and what went wrong."""


class Maker:
    """The launcher's side."""

    def __init__(self, loop: Loop, userns: int) -> None:
        self._loop = loop
        self._end, theirs = messages.pair()
        self.pid = os.fork()
        if self.pid == 0:
            _live(theirs, userns)
        theirs.close()
        self._waiting: deque[Done] = deque()
        self.ended = False
        loop.watch(self._end.fileno(), lambda: self._hear(wait=False))

    def nets(self, count: int, done: Done) -> None:
        """`done` is called for each of `count` new network namespaces."""
        self._ask({"nets": count}, [], [done] * count)

    def sandbox(
        self, root: int, binds: Sequence[tuple[int, str, bool]], net: int, tmp_mib: int | None, done: Done
    ) -> None:
        """The namespaces of a container, as in `NAMESPACES`, with `root` and all in it but /proc. `net` -1: a new one,
        with only loopback.
        """
        body = {"sandbox": [(path, is_dir) for _, path, is_dir in binds], "tmp_mib": tmp_mib, "net": net >= 0}
        self._ask(body, [root, *(fd for fd, _, _ in binds), *([net] if net >= 0 else [])], [done])

    def wait(self) -> None:
        """Until the next answer has been given to who asked."""
        self._hear(wait=True)

    def close(self) -> None:
        """It ends; who still waits is told."""
        if not self.ended:
            self.ended = True
            self._loop.unwatch(self._end.fileno())
            self._end.close()
            while self._waiting:
                self._waiting.popleft()([], "the process that makes namespaces has ended")

    def _ask(self, body: dict[str, Any], fds: list[int], waiting: list[Done]) -> None:
        self._waiting.extend(waiting)
        try:
            messages.send(self._end, body, fds)
        except OSError:
            self.close()

    def _hear(self, wait: bool) -> None:
        try:
            body, fds, _ = messages.receive(self._end, wait)
        except BlockingIOError:
            return  # who waited has taken the answer of which the loop had heard
        except (OSError, ValueError):
            body, fds = None, []
        if body is None:
            self.close()
        else:
            self._waiting.popleft()(fds, str(body.get("error", "")))


def _live(end: Any, userns: int) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        process.close_descriptors({end.fileno(), userns})
        namespaces.setns(userns, namespaces.NEWUSER)
        namespaces.become_root()
        process.die_with_parent()
        process.set_title("inrush-maker")
        _serve(end)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _serve(end: Any) -> None:
    namespaces.unshare(namespaces.NEWNS | namespaces.NEWNET | namespaces.NEWIPC | namespaces.NEWUTS)
    mounts.make_private()
    roots.make_dev()
    own = os.open("/proc/self/ns", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # in a new root there is no /proc
    process.hide_memory()
    home = _present(own)
    while True:
        body, fds, _ = messages.receive(end)
        if body is None:
            return
        for _ in range(body.get("nets", 1)):
            made: list[int] = []
            error = ""
            try:
                made = [_net(own)] if "nets" in body else _sandbox(body, fds, own)
            except OSError as wrong:
                error = f"{wrong.strerror or wrong} {wrong.filename or ''}".strip()
            for fd, flag in zip(home, NAMESPACES.values(), strict=True):
                namespaces.setns(fd, flag)
            messages.send(end, {"error": error} if error else {}, made)
            messages.close_all(made)


def _present(own: int) -> list[int]:
    return [os.open(kind, os.O_RDONLY | os.O_CLOEXEC, dir_fd=own) for kind in NAMESPACES]


def _net(own: int) -> int:
    namespaces.unshare(namespaces.NEWNET)
    return os.open("net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=own)


def _sandbox(body: dict[str, Any], fds: list[int], own: int) -> list[int]:
    root, *rest = fds
    net = rest.pop() if body["net"] else -1
    binds = [(fd, path, is_dir) for fd, (path, is_dir) in zip(rest, body["sandbox"], strict=True)]
    try:
        namespaces.unshare(
            namespaces.NEWNS | namespaces.NEWIPC | namespaces.NEWUTS | (namespaces.NEWNET if net < 0 else 0)
        )
        if net < 0:
            links.loopback_up()
        else:
            namespaces.setns(net, namespaces.NEWNET)
        roots.enter(root, binds, None, body["tmp_mib"], None)
    finally:
        for fd in (root, net, *rest):
            with contextlib.suppress(OSError):  # binds that were attached are closed
                os.close(fd)
    return _present(own)
