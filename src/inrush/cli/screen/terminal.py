"""A command in a container, joined to our own terminal (or pipes) over a WebSocket.

First goes what to run, as JSON text; then our input as binary messages and changes of the terminal's size as text. Back
come, as text, what a container is waited for, output as binary messages, and at the end, as text, with which status the
command ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from inrush.cli import api
from inrush.errors import ConnectionError, ExecutionError
from inrush.shown import harmless

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_PIECE_BYTES = 64 * 1024
_LAST_INPUT_S = 1.0
_STDIN, _STDOUT, _STDERR = 0, 1, 2


def attach(
    path: str,
    argv: Sequence[str] = (),
    pty: bool | None = None,
    quiet: bool = False,
    resizes: int | None = None,
    joined: Callable[[ClientConnection], object] = lambda socket: None,
    **query: str,
) -> int:
    """Runs a command and returns its status. It has a terminal if `pty` says so, or says nothing and there is one on
    both sides. A `--` before the command is no part of it. If `quiet`, somebody else shows what it waits for. A
    thread that is not the main one gives `resizes`, of `resized`. `joined` gets the connection, whose close ends this
    with a `ConnectionError`."""
    argv = argv[1:] if argv[:1] == ("--",) else argv
    tty = os.isatty(_STDIN) and os.isatty(_STDOUT) if pty is None else pty
    columns, rows = shutil.get_terminal_size()
    with _connected(path, query) as socket, _raw() if tty and os.isatty(_STDIN) else contextlib.nullcontext():
        socket.send(json.dumps({"argv": list(argv), "tty": tty, "rows": rows, "columns": columns}))
        joined(socket)
        with resized() if resizes is None else contextlib.nullcontext(resizes) as sizes, _typing(socket, sizes):
            return _show_output(socket, quiet)


@contextlib.contextmanager
def _connected(path: str, query: dict[str, str]) -> Iterator[ClientConnection]:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    where = api.address()
    query = api.given(query)
    url = f"{where.url.replace('http', 'ws', 1)}/api/v1{path}{'?' + urlencode(query) if query else ''}"
    try:
        socket = connect(
            url,
            additional_headers={"Authorization": f"Bearer {where.token}"},
            proxy=None,
            compression=None,
            max_size=None,
        )
    except (OSError, WebSocketException) as error:
        raise ConnectionError(
            f"no terminal at {where.url}: {error}; `inrush server status` tells whether it runs"
        ) from None
    with socket:
        yield socket


def _show_output(socket: ClientConnection, quiet: bool) -> int:
    for message in socket:
        if isinstance(message, bytes):
            os.write(_STDOUT, message)
            continue
        told = json.loads(message)
        if "why" in told:
            if not quiet:
                os.write(_STDERR, f"waiting: {harmless(told['why'])}\r\n".encode())  # a raw terminal needs both
            continue
        if told.get("error"):
            raise ExecutionError(told["error"])
        return int(told["code"])
    raise ConnectionError("the server closed the connection before the command ended; `inrush server logs` may say why")


@contextlib.contextmanager
def _typing(socket: ClientConnection, resizes: int) -> Iterator[None]:
    """Sends input meanwhile, and none after the block, when it is for others."""
    reading, writing = os.pipe()
    thread = threading.Thread(target=_send_input, args=(socket, resizes, reading), daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(writing)
        thread.join(_LAST_INPUT_S)
        os.close(reading)


def _send_input(socket: ClientConnection, resizes: int, over: int) -> None:
    """Sends input until it or the connection ends, or the pipe `over` is closed. Sizes of the terminal go from here
    too, since a signal handler must not touch the socket."""
    from websockets.exceptions import ConnectionClosed

    sources = [_STDIN, resizes, over]
    with contextlib.suppress(ConnectionClosed, OSError):
        while True:
            for source in select.select(sources, [], [])[0]:
                if source == over:
                    return
                data = os.read(source, _PIECE_BYTES)
                if source == resizes:
                    columns, rows = shutil.get_terminal_size()
                    socket.send(json.dumps({"rows": rows, "columns": columns}))
                elif data:
                    socket.send(data)
                else:
                    socket.send(json.dumps({"close": True}))
                    sources.remove(_STDIN)


@contextlib.contextmanager
def resized() -> Iterator[int]:
    """A descriptor that becomes readable when the terminal changes its size. Only for the main thread."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def tell(number: int, frame: Any) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(writing, b"x")

    before = signal.signal(signal.SIGWINCH, tell)
    try:
        yield reading
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(writing)
        os.close(reading)


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Has every key sent to the container, Ctrl-C too."""
    import termios
    import tty

    before = termios.tcgetattr(_STDIN)
    tty.setraw(_STDIN, termios.TCSADRAIN)  # what was typed ahead is kept
    try:
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)
        sys.stdout.flush()
