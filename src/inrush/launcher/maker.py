"""The maker: a process beside the launcher, with the launcher's rights, that makes what takes the kernel a long time:
network namespaces, and whole berths (`launcher.door`).

    launcher ── {"nets": n} owner           ──▶ maker    n answers, each with a network namespace of that user namespace
             ── {"berth": …} root, binds …  ──▶          an answer with a socket on which the door of a berth reports

The launcher forks it before it receives any order. It runs no user code, and no container can see it. What has to be
made in another user namespace is made by a child that joins that namespace and then ends. Answers come in the order of
the requests. The maker waits only for what no user code can see. A door is made among the processes of a template, so
the launcher follows it (`openings`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from inrush.launcher import door
from inrush.launcher.loop import Loop
from inrush.linux import links, messages, mounts, namespaces, process, roots

Made = Callable[[int, str], None]
"""Called with a descriptor and "", or with -1 and what went wrong."""


class Maker:
    """The launcher's side: sends requests to the maker process, and passes on its answers."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._end, theirs = messages.pair()
        self.pid = os.fork()
        if self.pid == 0:
            _live(theirs)
        theirs.close()
        self._waiting: deque[Made] = deque()
        self.ended = False
        loop.watch(self._end.fileno(), lambda: self._hear(wait=False))

    def nets(self, owner: int, count: int, done: Made) -> None:
        """Makes `count` network namespaces that the user namespace `owner` owns, and calls `done` for each."""
        self._ask({"nets": count}, [owner], [done] * count)

    def berth(self, berth: door.Parts, done: Made) -> None:
        """Begins a berth, and calls `done` with the socket on which its door reports."""
        body = {
            "berth": [(path, is_directory) for _, path, is_directory in berth.binds],
            "net": berth.net >= 0,
            "joins": len(berth.joins),
            "devices": list(berth.devices),
            "tmp_mib": berth.tmp_mib,
            "user": berth.user,
        }
        first = [berth.pids, berth.owner, berth.inner, berth.root, *([berth.net] if berth.net >= 0 else [])]
        self._ask(body, [*first, *berth.joins, *(fd for fd, _, _ in berth.binds), *berth.devices.values()], [done])

    def wait(self) -> None:
        """Blocks until the next answer has been passed on."""
        self._hear(wait=True)

    def close(self) -> None:
        """Ends the maker, and passes an error to requests that still wait."""
        if not self.ended:
            self.ended = True
            self._loop.unwatch(self._end.fileno())
            self._end.close()
            while self._waiting:
                self._waiting.popleft()(-1, "the process that makes namespaces has ended")

    def _ask(self, body: dict[str, Any], fds: list[int], waiting: list[Made]) -> None:
        self._waiting.extend(waiting)
        try:
            messages.send(self._end, body, fds)
        except (OSError, ValueError):
            self.close()

    def _hear(self, wait: bool) -> None:
        try:
            body, fds, _ = messages.receive(self._end, wait)
        except BlockingIOError:
            return  # `wait` has taken the answer that the loop had seen
        except (OSError, ValueError):
            body, fds = None, []
        if body is None:
            self.close()
        else:
            self._waiting.popleft()(fds[0] if fds else -1, str(body.get("error", "")))


def _live(end: socket.socket) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps doors, and the children that made them
        process.close_descriptors({end.fileno()})
        process.die_with_parent()
        process.hide_memory()
        process.set_title("inrush-maker")
        _Making(end).serve()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


class _Making:
    """The maker's side: serves requests."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        self._beneath = empty()
        self._door = door.program()
        roots.make_dev()

    def serve(self) -> None:
        """Serves until the launcher hangs up."""
        while True:
            body, fds, _ = messages.receive(self._end)
            if body is None:
                return
            try:
                if "nets" in body:
                    self._nets(fds[0], int(body["nets"]))
                else:
                    self._berth(body, fds)
            finally:
                messages.close_all(fds)

    def _nets(self, owner: int, count: int) -> None:
        def make(report: socket.socket) -> None:
            namespaces.setns(owner, namespaces.NEWUSER)
            namespaces.become_root()
            for _ in range(count):
                namespaces.unshare(namespaces.NEWNET)
                links.loopback_up()
                fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                messages.send(report, {}, [fd])
                os.close(fd)

        with _child(make) as report:
            for _ in range(count):
                body, fds, _ = messages.receive(report)
                messages.send(self._end, {"error": "its maker ended"} if body is None else body, fds)
                messages.close_all(fds)

    def _berth(self, body: dict[str, Any], fds: list[int]) -> None:
        try:
            berth = self._sorted(body, fds)
            namespaces.setns(berth.pids, namespaces.NEWPID)  # children are made there from now on
            with _child(lambda report: door.make(berth, self._beneath, self._door, report)) as report:
                messages.send(self._end, {}, [report.fileno()])
        except OSError as wrong:
            messages.send(self._end, {"error": f"{wrong.strerror or wrong} {wrong.filename or ''}".strip()})

    def _sorted(self, body: dict[str, Any], fds: list[int]) -> door.Parts:
        pids, owner, inner, root, *rest = fds
        net = rest.pop(0) if body["net"] else -1
        joins, rest = rest[: body["joins"]], rest[body["joins"] :]
        count = len(body["berth"])
        shown = zip(rest[:count], body["berth"], strict=True)
        binds = [(fd, path, is_directory) for fd, (path, is_directory) in shown]
        nodes = dict(zip(body["devices"], rest[count:], strict=True))
        return door.Parts(pids, owner, inner, root, net, binds, nodes, joins, body["tmp_mib"], body["user"])


def _child(act: Callable[[socket.socket], None]) -> socket.socket:
    """Forks a child that does `act` with its end of a socket pair, on which it also reports an error. Returns the other
    end."""
    ours, theirs = messages.pair()
    messages.want_credentials(ours, descriptors=True)
    if os.fork() == 0:
        try:
            ours.close()
            process.die_with_parent()
            act(theirs)
        except OSError as wrong:
            with contextlib.suppress(OSError):
                messages.send(theirs, {"error": f"{wrong.strerror or wrong} {wrong.filename or ''}".strip()})
        except BaseException as wrong:
            with contextlib.suppress(OSError):
                messages.send(theirs, {"error": f"{type(wrong).__name__}: {wrong}"})
        finally:
            os._exit(0)
    theirs.close()
    return ours


def empty() -> roots.Beneath:
    """Makes the procfs of an empty pid namespace, and the sysfs of an empty network namespace."""

    def make(report: socket.socket) -> None:
        namespaces.unshare(namespaces.NEWPID | namespaces.NEWNET)
        sys = roots.detached_sys()

        def inside(end: socket.socket) -> None:
            fds = [roots.detached_proc(), *([sys] if sys >= 0 else [])]
            messages.send(end, {}, fds)

        with _child(inside) as inner:
            body, fds, _ = messages.receive(inner)
        messages.send(report, body or {"error": "no procfs can be mounted"}, fds)

    with _child(make) as report:
        body, fds, _ = messages.receive(report)
    if not fds:
        raise OSError(f"no procfs can be mounted: {(body or {}).get('error', 'its maker ended')}")
    return roots.Beneath(fds[0], fds[1] if len(fds) > 1 else -1)
