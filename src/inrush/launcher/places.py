"""The files and devices of the machine that the launcher may use for its agent.

Orders name paths, and an attacker may have taken the agent over. So a path is accepted only if it leads below the
*store*, the directory `node` of the home, to which the agent may write anyway, or to a *declared* source (the
interpreter, the package, certificates, drivers). Sources are declared when the launcher is started, before any other
process exists. Each path is opened here, once, and all work uses the descriptor.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from inrush.launcher.specs import Bind
from inrush.linux import paths

STORE = "node"
OWN = "launcher"
"""Directories of the home: `STORE` is written by the agent, and `OWN` by the launcher alone."""


class Refused(PermissionError):
    """The launcher refuses an order; the message says what was ordered and why that is not allowed."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What containers may be shown of the machine: `sources` of read-only binds (these paths and everything below
    them), and device nodes."""

    sources: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


class Places:
    """Opens the paths of orders. It must be made in the mount namespace in which it is used."""

    def __init__(self, state: Path, declared: Declared) -> None:
        store = state / STORE
        self._prefixes = tuple(dict.fromkeys(f"{path}/" for path in (store, store.resolve())))
        self._store = os.open(store, paths.DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._declared = sorted(declared.sources, key=len, reverse=True)
        self._devices = frozenset(declared.devices)

    def directory(self, path: str) -> int:
        """Opens a directory of the store, to walk and to mount it."""
        return self._open(path, paths.DIRECTORY)

    def parent(self, path: str) -> tuple[int, str]:
        """Opens the directory of the store that contains `path`. Returns it with the name of `path` in it."""
        above, _, name = self._relative(path).rpartition("/")
        return self._opened(path, above or ".", paths.DIRECTORY), name

    def source(self, bind: Bind) -> int:
        """Opens the source of a bind. Raises `Refused` for one that is not allowed; only the store may be bound
        writable."""
        if self.in_store(bind.src):
            return self._open(bind.src, paths.PLACE)
        if not bind.readonly:
            raise Refused(f"{bind.src} is not below {self._prefixes[0]}, and a container may write only there")
        for top in self._declared:
            if bind.src == top:
                return os.open(top, os.O_PATH | os.O_CLOEXEC)
            if bind.src.startswith(f"{top.rstrip('/')}/"):
                return self._below_declared(top, bind.src)
        raise Refused(f"{bind.src} is neither in the store nor among the paths declared when the server started")

    def check_devices(self, devices: tuple[str, ...]) -> None:
        """Raises `Refused` for a device that was not declared."""
        if unknown := [device for device in devices if device not in self._devices]:
            raise Refused(f"the device {unknown[0]} was not declared when the server started; restart the server")

    def close(self) -> None:
        """Closes the store; nothing can be opened after it."""
        os.close(self._store)

    def in_store(self, path: str) -> bool:
        """Whether a path begins with the path of the store."""
        return path.startswith(self._prefixes)

    def _below_declared(self, top: str, path: str) -> int:
        directory = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return paths.open_beneath(directory, path[len(top.rstrip("/")) + 1 :], paths.PLACE, links=True)
        except OSError as error:
            raise self._refused(path, error) from None
        finally:
            os.close(directory)

    def _open(self, path: str, flags: int) -> int:
        return self._opened(path, self._relative(path), flags)

    def _opened(self, path: str, relative: str, flags: int) -> int:
        try:
            return paths.open_beneath(self._store, relative, flags)
        except OSError as error:
            raise self._refused(path, error) from None

    def _relative(self, path: str) -> str:
        prefix = next((prefix for prefix in self._prefixes if path.startswith(prefix)), None)
        names = path[len(prefix) :].split("/") if prefix else []
        if not names or any(name in ("", ".", "..") for name in names):
            raise Refused(f"{path} is not below {self._prefixes[0]}, and the launcher works only there")
        return "/".join(names)

    @staticmethod
    def _refused(path: str, error: OSError) -> Exception:
        if error.errno in (errno.ELOOP, errno.EXDEV):
            return Refused(f"{path} leads through a symbolic link or out of its directory")
        return OSError(error.errno, os.strerror(error.errno or 0), path)
