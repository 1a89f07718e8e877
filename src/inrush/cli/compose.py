"""The server process, built by hand: launcher first, then privileges dropped, then server and agent on one loop.

    lock the home ─▶ start the launcher ─▶ drop privileges ─▶ server ─▶ agent, attached in memory ─▶ pools ─▶ until told
    to stop

The order matters: the launcher is forked while this process has one thread and all its rights, and nothing that
speaks with the network comes into being before the rights are gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inrush import settings
from inrush.errors import AlreadyExistsError, Error

if TYPE_CHECKING:
    from inrush.launcher.process import LauncherHandle

log = logging.getLogger("inrush")

GRACE_S = 5.0
"""How long running inputs may go on when the server is asked to stop; exit hooks have their own time."""
GC_THRESHOLDS = (20_000, 20, 50)
"""Messages and events are no containers of others, so cycles are rare and waiting for them is cheap."""
LOG_BYTES = 16 * 1024 * 1024


def serve(values: Mapping[str, settings.Value], background: bool = False) -> int:
    """Runs the server until it is told to stop; the exit status of the process."""
    home = settings.home()
    plain = {name: value.value for name, value in values.items()}
    try:
        for directory in (home, home / "run", home / "node"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _log_to(home, plain["log_level"], background)
        with _locked(home):
            return run_server(home, plain, foreground=not background)
    except Error as error:
        log.error("%s", error)
        return 1
    except OSError as error:
        log.error("the server cannot run with %s: %s", home, error)
        return 1


def run_server(home: Path, plain: Mapping[str, Any], foreground: bool) -> int:
    """Everything between lock and unlock."""
    from inrush.agent.declared import declared
    from inrush.launcher.process import Given, drop_privileges, start_launcher

    blocked = tuple(settings.networks(plain["blocked_addresses"]))
    handle = start_launcher(home, Given(declared(), plain["reserve_memory_mib"], blocked=blocked))
    log.info("%s", drop_privileges(home))
    import uvloop

    return uvloop.run(_serve(home, plain, handle, foreground))


async def _serve(home: Path, plain: Mapping[str, Any], handle: LauncherHandle, foreground: bool) -> int:
    from inrush.agent.link.node import Node
    from inrush.server.serve import Server

    server = Server(home, {**plain, "idle_exit_s": 0} if foreground else plain)
    failures: list[str] = []

    def launcher_lost(why: str) -> None:
        failures.append(why)
        server.ask_to_end(why)

    node = Node(home, handle, server.blobs, plain, launcher_lost)
    _end_on_signals(server.ask_to_end)
    try:
        await node.start()
        await server.start()
        node.attach(server.nodes.attach(node.receive))
        server.pools.start(node.id, node.receive)
        _settle_memory()
        await server.wait_closed()
    finally:
        await node.stop(GRACE_S)
        server.nodes.detach(node.id, "the server is ending")
        await server.stop()
    for why in failures:
        log.error("%s", why)
    return 1 if failures else 0


def _settle_memory() -> None:
    """Exempt all objects that exist now from garbage collection and make collections rare, so that no call waits for a
    long one."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _end_on_signals(ask_to_end: Callable[[str], None]) -> None:
    """The first SIGTERM or SIGINT asks for an orderly end; after a second one the launcher ends the containers."""
    asked = False

    def on_signal(number: int) -> None:
        nonlocal asked
        if asked:
            log.warning("ending at once")
            os._exit(128 + number)
        asked = True
        ask_to_end(f"{signal.Signals(number).name}; once more to end at once")

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One server a home. Raises `AlreadyExistsError` naming the process that has it."""
    fd = os.open(home / "run" / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyExistsError(_holder(home)) from None
        yield
    finally:
        os.close(fd)


def _holder(home: Path) -> str:
    try:
        told = json.loads((home / "run" / "server.json").read_bytes())
        who = f"process {told['pid']} at {told['url']}"
    except (OSError, ValueError, KeyError):
        who = "it is just starting"
    return (
        f"a server already runs for {home} ({who}): use it, end it by `inrush server stop`, or set another INRUSH_HOME"
    )


def _log_to(home: Path, level: str, background: bool) -> None:
    """The terminal in the foreground; `server.log`, begun anew when it has grown too long, in the background."""
    handler: logging.Handler
    if background:
        from logging.handlers import RotatingFileHandler

        handler = RotatingFileHandler(home / "server.log", maxBytes=LOG_BYTES, backupCount=1)
    else:
        handler = logging.StreamHandler(sys.stderr)
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level.upper(), handlers=[handler], format=form)
