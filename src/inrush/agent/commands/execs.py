"""Commands that people run in containers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from inrush import wire
from inrush.agent.commands.streams import Streams
from inrush.agent.containers.environment import shell_env
from inrush.agent.containers.processes import Exits
from inrush.errors import Error, NotFoundError
from inrush.launcher.client import Launcher

MAX_UNSENT_BYTES = 16 * 1024 * 1024
"""A command that leaves more of its input unread than this is ended."""

Environment = Callable[[str], dict[str, str] | None]
"""The environment of a running container; None where there is no such container."""


class Execs:
    """Running commands by their exec id."""

    def __init__(
        self,
        launcher: Launcher,
        exits: Exits,
        put: Callable[[wire.FromNode], None],
        environment: Environment,
    ) -> None:
        self._launcher = launcher
        self._exits = exits
        self._put = put
        self._environment = environment
        self._running: dict[str, tuple[Streams, asyncio.Task[None]]] = {}
        self._hanging_up: set[asyncio.Task[None]] = set()

    def start(self, order: wire.ExecIn) -> None:
        """Begins to carry out an order. `ExecOutput`s report how it goes."""
        streams = Streams(order.tty, order.rows, order.columns, partial(self._told, order.exec))
        self._running[order.exec] = streams, asyncio.create_task(self._run(order, streams))

    def input(self, order: wire.ExecInput) -> None:
        """Bytes for a command's standard input, or a new size of its terminal."""
        if order.exec not in self._running:
            return
        streams, task = self._running[order.exec]
        if order.rows > 0:
            streams.resize(order.rows, order.columns)
        if order.gone and streams.terminal is not None:
            self._hanging_up.add(hanging := asyncio.create_task(self._hang_up(order.exec)))
            hanging.add_done_callback(self._hanging_up.discard)
        elif streams.unsent_bytes() > MAX_UNSENT_BYTES:
            task.cancel()
        else:
            streams.write(order.data, order.close or order.gone)

    async def close(self) -> None:
        """Ends all commands."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _told(self, id: str, stream: int, data: bytes) -> None:
        self._put(wire.ExecOutput(id, stream, data))

    async def _run(self, order: wire.ExecIn, streams: Streams) -> None:
        exited = self._exits.expect(order.exec)
        try:
            await streams.open()
            try:
                await self._begin(order, streams)
            finally:
                streams.release()
            await streams.begun()
            end = await exited
            await streams.drained()
            self._put(wire.ExecOutput(order.exec, code=128 + end.signal if end.signal else end.code))
        except (Error, OSError) as error:
            await self._end(order.exec, 126, str(error))
        except asyncio.CancelledError:
            await self._end(order.exec, 137, "the command was ended: it left its input unread, or its server stops")
        finally:
            self._exits.forget(order.exec)
            streams.close()
            del self._running[order.exec]

    async def _begin(self, order: wire.ExecIn, streams: Streams) -> None:
        env = self._environment(order.container)
        if env is None:
            raise NotFoundError(
                f"no container {order.container!r} runs here; `inrush container list` shows those that do"
            )
        env = shell_env(env, order.tty)
        terminal = streams.terminal
        await self._launcher.enter(order.container, order.argv, env, "/root", *streams.theirs, terminal, order.exec)

    async def _hang_up(self, id: str) -> None:
        """Tells a command that its terminal's person has gone. What it says at its end is still passed on."""
        with suppress(Error):  # it has ended, or the launcher has
            await self._launcher.signal(id, signal.SIGHUP)

    async def _end(self, id: str, code: int, why: str) -> None:
        """Kills a command, if it runs: it could not begin as it should, or reads too little, or its server stops."""
        self._put(wire.ExecOutput(id, code=code, error=why))
        with suppress(Error):  # the launcher is gone, and the command with it
            await self._launcher.kill(id)
