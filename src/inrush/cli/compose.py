"""The server process, built by hand: launcher first, then privileges dropped, then server and agent on one loop.

    lock the home ─▶ read the node's package settings ─▶ start the launcher ─▶ drop privileges ─▶ server ─▶ agent,
    attached in memory ─▶ pools ─▶ until told to stop

The order matters: the launcher is forked while this process has one thread and all its rights, and nothing that speaks
with the network comes into being before the rights are gone. What only root may read is read before, and what the
server makes in the home it makes afterwards, as a user of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inrush import settings
from inrush.errors import AlreadyExistsError, Error, InvalidError

if TYPE_CHECKING:
    from inrush.agent.images.inherited import Inherited
    from inrush.launcher.boot import LauncherHandle

log = logging.getLogger("inrush")

GRACE_S = 5.0
"""How long running inputs may go on when the server is asked to stop. Exit hooks have time of their own."""
GC_THRESHOLDS = (20_000, 20, 50)
"""Messages and events refer to no containers of others, so cycles are rare and rare collections are cheap."""
LOG_BYTES = 16 * 1024 * 1024


def serve(values: Mapping[str, settings.Value], background: bool = False) -> int:
    """Runs the server until it is told to stop. Returns the exit status of the process."""
    home = settings.home()
    plain = {name: value.value for name, value in values.items()}
    try:
        _log_to(logging.StreamHandler(sys.stderr), plain["log_level"])
        uid = settle(home)
        with locked(home):
            return run_server(home, plain, uid, foreground=not background)
    except Error as error:
        log.error("%s", error)
        return 1
    except OSError as error:
        log.error("the server cannot run with %s: %s", home, error)
        return 1


def run_server(home: Path, plain: Mapping[str, Any], uid: int, foreground: bool) -> int:
    """Everything between lock and unlock. `uid` is the user that the server becomes, 0 where it stays who it is."""
    from inrush.agent.declared import declared
    from inrush.agent.images.inherited import Inherited
    from inrush.launcher.boot import Given, start_launcher
    from inrush.launcher.home import end_leftovers
    from inrush.launcher.rights import go_first
    from inrush.linux import descriptors

    if uid:
        end_leftovers(uid)
    preferred = bool(uid) and go_first()
    inherited = Inherited.read()
    blocked = tuple(settings.networks(plain["blocked_addresses"]))
    reserves = plain["reserve_memory_mib"], plain["reserve_processes"]
    handle = start_launcher(home, Given(declared(inherited), reserves[0], uid, blocked, reserves[1], preferred))
    descriptors.raise_limit()  # containers keep the one before: the launcher has it
    if plain["pools"]:
        plain = {**plain, "pools": str(home / Path(plain["pools"]).expanduser())}
    said = _drop_privileges(home, plain, uid)
    if not foreground:
        from logging.handlers import RotatingFileHandler

        _log_to(RotatingFileHandler(home / "server.log", maxBytes=LOG_BYTES, backupCount=1), plain["log_level"])
    log.info("%s", said)
    if low := descriptors.too_low():
        log.warning("%s", low)
    import uvloop

    return uvloop.run(_serve(home, plain, handle, inherited, foreground))


def settle(home: Path) -> int:
    """Make the home ready; returns the user id that the server is to have, 0 where it stays who it is."""
    if os.geteuid() == 0:
        from inrush.launcher import home as of_root

        return of_root.settle(home)
    shutil.rmtree(home / "tmp", ignore_errors=True)
    for directory in (home, home / "run", home / "node", home / "tmp"):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return 0


def _drop_privileges(home: Path, plain: Mapping[str, Any], uid: int) -> str:
    """Become `uid`, with a home and a directory for temporary files where that user may write."""
    from inrush.agent.declared import needed
    from inrush.agent.images import runtime
    from inrush.launcher.rights import drop_privileges, unreadable

    elsewhere = ("/tmp", "/var/tmp") if plain["isolation"] == "process" else ()  # noqa: S108 (user code writes there)
    said = drop_privileges(home, uid, filter(None, [*needed(), plain["pools"]]), elsewhere)
    os.environ.update(INRUSH_HOME=str(home), TMPDIR=str(home / "tmp"))
    if uid:
        os.environ["HOME"] = str(home)
        for name in [name for name in os.environ if name.startswith("XDG_")]:
            del os.environ[name]
    if lost := unreadable([sys.executable, os.__file__, *runtime.sources()]):
        raise InvalidError(
            f"the server runs as user {uid}, who may not read {lost[0]}: let others read it (chmod -R o+rX), or start "
            "the server by a Python that all users of this machine may use"
        )
    return said


async def _serve(
    home: Path, plain: Mapping[str, Any], handle: LauncherHandle, inherited: Inherited, foreground: bool
) -> int:
    from inrush.agent.link.node import Node
    from inrush.server.serve import Server

    gc.disable()  # what is made before `_settle_memory` stays, and may be hundreds of thousands of calls
    server = Server(home, {**plain, "idle_exit_s": 0} if foreground else plain, background=not foreground)
    node = Node(home, handle, server.blobs, plain, server.fail, inherited)
    _end_on_signals(server.ask_to_end)
    try:
        await node.start()
        server.inside.entrance = node.entrance
        await server.start()
        node.attach(server.nodes.attach(node.receive))
        server.pools.start(node.id, node.receive)
        _settle_memory()
        await server.wait_closed()
    finally:
        await node.stop(GRACE_S)
        server.nodes.detach(node.id, "the server is ending")
        await server.stop()
    if server.failed:
        log.error("%s", server.failed)
    return 1 if server.failed else 0


def _settle_memory() -> None:
    """Exempt all objects that exist now from garbage collection and make collections rare, so that no call waits for a
    long one."""
    gc.enable()
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
def locked(home: Path) -> Iterator[None]:
    """Locks the home, so that it has one server. Raises `AlreadyExistsError` naming the process that has it."""
    fd = settings.open_in_home("run/lock", os.O_RDWR | os.O_CREAT)
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
        told = json.loads(settings.read_in_home("run/server.json"))
        who = f"process {told['pid']} at {told['url']}"
    except (OSError, ValueError, KeyError):
        who = "it is just starting"
    return f"a server already runs for {home} ({who}): use it, or set another INRUSH_HOME"


def _log_to(handler: logging.Handler, level: str) -> None:
    """To standard error at first; in the background to `server.log`, begun anew when it has grown too long, from when
    this process is the user to whom the file belongs.
    """
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level.upper(), handlers=[handler], format=form, force=True)
