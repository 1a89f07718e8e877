"""The main program of the launcher, and of the janitor that watches it.

    server ── fork, exec ──▶ janitor ── fork ──▶ launcher

The launcher ends when its agent hangs up. The kernel then kills every container, since each one's init dies with the
launcher. The janitor waits for the launcher to end, for whatever reason, and removes what the kernel does not: control
groups, links, the nft table. If the janitor is killed, the launcher gets a signal, ends, and removes these itself. If
both are killed at once, the next launcher of this home removes them, or the next of any other home.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path
from typing import NoReturn

from inrush.launcher import features, orders, usernet, userns
from inrush.launcher.boot import Given
from inrush.launcher.loop import Loop
from inrush.launcher.machine import Machine, tag_of
from inrush.launcher.places import OWN, STORE
from inrush.launcher.service import Service
from inrush.launcher.sweep import begin, sweep, sweep_abandoned
from inrush.linux import descriptors, messages, mounts, process

_WAIT_FOR_EARLIER_S = 15.0


def main(arguments: list[str]) -> None:
    """Runs as the janitor, and forks the launcher. The arguments are `CONTROL_FD STATE rootless|root GIVEN`, the last
    one as JSON. A fifth one, `LOST`, makes this process the launcher of an ordinary user (`_execute_inside`)."""
    control, state, rootless = int(arguments[0]), Path(arguments[1]), arguments[2] == "rootless"
    given = orders.decode(Given, json.loads(arguments[3]))
    os.umask(0o022)
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # Ctrl-C is meant for the server, which then hangs up
    agent = socket.socket(fileno=control)
    if len(arguments) > 4:
        _launcher(agent, state, tag_of(state), rootless, given, arguments[4])
    try:
        lock = _lock(state)
        tag = tag_of(state)  # now, since the directory may be removed before the launcher ends
        begin(tag, rootless)
    except OSError as error:
        _broken(agent, error)
        sys.exit(1)
    process.adopt_orphans()  # children of a killed launcher must be reaped, or what they hold is not freed
    pid = os.fork()
    if pid == 0:
        if rootless:
            _execute_inside(agent, lock)
        _launcher(agent, state, tag, rootless, given, "")
    agent.close()
    process.set_title("inrush-janitor")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if not rootless:
        sweep_abandoned()
    os.waitpid(pid, 0)
    process.end_children()
    sweep(tag, rootless)
    os.close(lock)


def _broken(agent: socket.socket, error: Exception) -> None:
    """Tells the agent why there will be no launcher."""
    with contextlib.suppress(OSError):
        words = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.strerror else str(error)
        messages.send(agent, {"broken": words})


def _lock(state: Path) -> int:
    """Locks the state directory, so that it has one launcher; waits for an earlier one that is ending."""
    directory = _own_directory(state)
    fd = os.open(directory / "launcher.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _WAIT_FOR_EARLIER_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OSError(f"another launcher still works in {state}; stop its server first") from None
            time.sleep(0.02)


def _own_directory(state: Path) -> Path:
    """The directory in which only the launcher writes. If it exists already it must belong to the launcher, since the
    agent may write beside it."""
    for name in (STORE, OWN):
        with contextlib.suppress(FileExistsError):
            (state / name).mkdir(mode=0o700, parents=True)
    info = (state / OWN).lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        raise OSError(f"{state / OWN} is not a directory that only user {os.geteuid()} may write; remove it")
    return state / OWN


def _execute_inside(agent: socket.socket, lock: int) -> NoReturn:
    """Enters a user namespace of this user's own and executes this program again there. The kernel decides by the user
    namespace of that moment who may see the namespaces of a process that hides its memory. The launcher must see those
    of its forks, to verify them."""
    try:
        lost = userns.enter_own()
        for fd in (agent.fileno(), lock):
            os.set_inheritable(fd, True)
        os.execv(sys.executable, [*sys.orig_argv, lost])  # noqa: S606 (no shell is wanted)
    except Exception as error:
        _broken(agent, error)
        raise
    finally:
        os._exit(1)


def _launcher(agent: socket.socket, state: Path, tag: str, rootless: bool, given: Given, lost: str) -> NoReturn:
    status = 1
    try:
        process.set_title("inrush-launcher")
        descriptors.raise_limit()
        loop = Loop()
        signal.signal(signal.SIGTERM, lambda *_: setattr(loop, "running", False))
        wayout = usernet.enter() if rootless and "nat" not in features.without() else ""
        process.die_with_parent(signal.SIGTERM)
        process.adopt_orphans()
        if os.getppid() == 1:
            raise OSError("the janitor died")
        userns.leave_mounts()
        mounts.make_private()
        machine = Machine(state, tag, loop, rootless, lost, given, wayout)
        messages.send(agent, {"hello": machine.report()})
        Service(agent, machine)
        gc.freeze()  # every init is a fork of this process
        loop.run()
        status = 0
    except Exception as error:
        _broken(agent, error)
        raise
    finally:
        with contextlib.suppress(OSError):
            process.end_children()  # they are the inits of containers, which end with them
        sweep(tag, rootless)
        os._exit(status)
