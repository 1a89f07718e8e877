"""The local server: found by its socket under the home, started in the background where none answers.

One client starts it, the others wait: a file lock decides. It outlives the client (its own idle time ends it), and a
client that still waits for a result starts it again after a crash.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from inrush import settings
from inrush.client._transport import Transport, UnixTransport, WebSocketTransport
from inrush.errors import AuthError, ConnectionError

_START_S = 600.0
"""How long a server is waited for that lives and does not answer: it restores what is saved, or ends in order."""
_PASSED_ON = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TEMP|TMP|TERM|XDG_\w+|PYTHON\w+|VIRTUAL_ENV"
    r"|LD_LIBRARY_PATH|CUDA_\w+|NVIDIA_\w+|(?:HTTP|HTTPS|ALL|NO)_PROXY|(?:http|https|all|no)_proxy|SSL_CERT_\w+|REQUESTS_CA_BUNDLE"
    r"|CURL_CA_BUNDLE|PIP_\w+|UV_\w+|INRUSH_(?!TOKEN$)\w+"
)
_TAIL_LINES = 15
_LOG_LIMIT_BYTES = 16 * 1024 * 1024


def connect(start: bool = True) -> tuple[Transport, str]:
    """A connection to the server that the settings name, and the token for it; without one, to this machine's own,
    which is started if it does not answer, unless `start` is False."""
    url, token = configured()
    return (WebSocketTransport(url) if url else local(start)), token


def configured() -> tuple[str, str]:
    """URL and token of the server that the settings name; the URL is empty where they name none."""
    values = settings.load()
    url, token = str(values["server_url"].value).rstrip("/"), str(values["token"].value)
    if url and not url.startswith(("http://", "https://")):
        raise ConnectionError(
            f"server_url is {url!r} (from {values['server_url'].source}); it starts with http:// or https://"
        )
    if url and not token:
        raise AuthError(f"the server at {url} wants a token: set INRUSH_TOKEN, or token in config.toml")
    return url, token


def local(start: bool = True) -> UnixTransport:
    """A connection to this machine's server. Raises `ConnectionError`, with the end of its log if it does not start."""
    if sys.platform == "win32":
        raise ConnectionError(
            "a server does not run on this system: name one elsewhere by INRUSH_SERVER_URL and INRUSH_TOKEN"
        )
    home = settings.home()
    socket = home / "run" / "server.sock"
    found = _try(socket)
    if found is not None:
        return found
    if not start:
        raise ConnectionError(f"no server answers at {socket}")
    with _starting(home):
        return _once_free(socket) or _start(home, socket)


def _try(socket: Path) -> UnixTransport | None:
    try:
        return UnixTransport(str(socket))
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise ConnectionError(
            f"{socket} cannot be used: {error}; INRUSH_HOME names the folder with the server's state"
        ) from error


def _once_free(socket: Path) -> UnixTransport | None:
    """A connection, or None as soon as no server has the home: one that is ending has it to its end, and one that has
    just been started answers later."""
    deadline = time.monotonic() + _START_S
    while (found := _try(socket)) is None and _is_locked(socket.parent / "lock"):
        if time.monotonic() > deadline:
            raise ConnectionError(
                f"a server has {socket.parent.parent} and does not answer at {socket}; `inrush server logs` says why"
            )
        time.sleep(0.02)
    return found


@contextlib.contextmanager
def _starting(home: Path) -> Iterator[None]:
    """Only one client at a time starts a server."""
    import fcntl

    for folder in (home, home / "run"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(settings.open_in_home("run/starting", os.O_WRONLY | os.O_CREAT), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start(home: Path, socket: Path) -> UnixTransport:
    log = home / "server.log"
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(home / "server.log.1")
    if token := os.environ.get("INRUSH_TOKEN"):  # it is the server's; in its environment others would see it
        with open(settings.open_in_home("token", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as file:
            file.write(token)
    with open(settings.open_in_home("server.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as output:
        before = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "inrush", "server", "--background"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=home,
            env={**_environment_of_server(os.environ), "INRUSH_HOME": str(home)},
        )
    return _wait(process, socket, log, before)


def _environment_of_server(environ: Mapping[str, str]) -> dict[str, str]:
    """What a server in the background has of its first client's environment: how programs run here, and its settings.
    The rest is that client's own (passwords that it makes Secrets of, say), and the server outlives it."""
    return {name: value for name, value in environ.items() if _PASSED_ON.fullmatch(name)}


def _wait(process: subprocess.Popen[bytes], socket: Path, log: Path, before: int) -> UnixTransport:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        found = _try(socket)
        if found is not None:
            return found
        if process.poll() is not None and not _is_locked(socket.parent / "lock"):
            raise ConnectionError(
                f"the local server ended with status {process.returncode} while it started.{_tail(log, before)}"
            )
        time.sleep(0.01)
    raise ConnectionError(
        f"the local server (process {process.pid}) did not answer within {_START_S:.0f} s.{_tail(log, before)}"
    )


def _is_locked(lock: Path) -> bool:
    """Does a server run already, one that does not answer yet or any more?"""
    import fcntl

    try:
        with open(settings.open_in_home(f"run/{lock.name}", os.O_RDONLY)) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _tail(log: Path, before: int) -> str:
    """The last lines of a log that came after so many bytes."""
    with open(settings.open_in_home(log.name, os.O_RDONLY), "rb") as file:
        lines = file.read()[before:].decode(errors="replace").splitlines()[-_TAIL_LINES:]
    return (
        f" The end of {log}:\n" + "\n".join(f"  {line}" for line in lines) if lines else f" It wrote nothing to {log}."
    )
