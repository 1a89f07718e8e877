"""Which files and devices of the machine the launcher touches for its agent.

The agent names paths, and the agent may have been taken over. So a path of an order is taken only where it leads below
the *store*, the directory `node` of the home, in which the agent may write anyway, or to a *declared* source: whoever
starts the launcher declares them before any other process exists (the interpreter, the package, certificates, drivers).
Paths become descriptors here, once, and all work is done on those.
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
"""Directories of the home: what the agent writes, and what only the launcher does."""


class Refused(PermissionError):
    """The agent may not order this; the message says what and why."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What of the machine containers may be shown: sources of read-only binds (these paths, and what is below them),
    and device nodes.
    """

    sources: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()


class Places:
    """Opens what orders name. Build it in the mount namespace in which it is used."""

    def __init__(self, state: Path, declared: Declared) -> None:
        store = state / STORE
        self._prefixes = tuple(dict.fromkeys(f"{path}/" for path in (store, store.resolve())))
        self._store = os.open(store, paths.DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._declared = sorted(declared.sources, key=len, reverse=True)
        self._devices = frozenset(declared.devices)

    def directory(self, path: str) -> int:
        """A directory of the store, open to be walked and mounted."""
        return self._open(path, paths.DIRECTORY)

    def parent(self, path: str) -> tuple[int, str]:
        """The directory of the store that holds `path`, and its name there."""
        above, _, name = self._relative(path).rpartition("/")
        return self._opened(path, above or ".", paths.DIRECTORY), name

    def source(self, bind: Bind) -> int:
        """What a bind shows. Only what is in the store may be written."""
        if self.in_store(bind.src):
            return self._open(bind.src, paths.PLACE)
        if not bind.readonly:
            raise Refused(f"{bind.src} is not below {self._prefixes[0]}, where alone containers write")
        for top in self._declared:
            if bind.src == top:
                return os.open(top, os.O_PATH | os.O_CLOEXEC)
            if bind.src.startswith(f"{top.rstrip('/')}/"):
                return self._below_declared(top, bind.src)
        raise Refused(f"{bind.src} is neither in the store nor declared as what containers may be shown")

    def check_devices(self, devices: tuple[str, ...]) -> None:
        """Raises `Refused` for a device that was not declared."""
        if unknown := [device for device in devices if device not in self._devices]:
            raise Refused(f"the device {unknown[0]} was not declared when the server started")

    def close(self) -> None:
        """Nothing is opened any more."""
        os.close(self._store)

    def in_store(self, path: str) -> bool:
        """Whether a path is written as one of the store."""
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
            raise Refused(f"{path} is not below {self._prefixes[0]}, where alone the launcher works")
        return "/".join(names)

    @staticmethod
    def _refused(path: str, error: OSError) -> Exception:
        if error.errno in (errno.ELOOP, errno.EXDEV):
            return Refused(f"{path} leads through a symbolic link or out of where it is looked for")
        return OSError(error.errno, os.strerror(error.errno or 0), path)
