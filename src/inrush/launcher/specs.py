"""The messages between agent and launcher: specs, results, and their JSON form.

They are dataclasses, since the launcher uses the standard library alone: it is small, and starts before anything else.
All paths and user ids are the host's, unless a docstring says otherwise.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

FIRST_UID = 0x0010_0000
UID_RANGE = 65_536
"""The number of user and group ids of an app's user namespace."""
MAX_RANGES = 16_384
"""The number of ranges. `FIRST_UID + MAX_RANGES * UID_RANGE` stays below 2**31, since some file systems and tools treat
ids as signed."""

GUEST_LIB = "/opt/inrush/lib"
"""The path of the `inrush` package in a container, at which the agent binds it."""


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory `src` of the host, mounted at `dst` in the container."""

    src: str
    dst: str
    readonly: bool = True


@dataclass(frozen=True, slots=True)
class RootSpec:
    """The file system of a container.

    `layers` are directories of the store, top first. What the container writes goes to `upper`, a directory of the
    store that is kept (image builds), or, if that is empty, to memory that counts for the container, up to `disk_mib`.
    """

    layers: tuple[str, ...]
    binds: tuple[Bind, ...] = ()
    upper: str = ""
    hostname: str = ""
    resolv: bool = True
    disk_mib: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a container. `cpu` is a hard quota in cores, `cpu_request` the share under contention. `memory_mib`
    None means the node's memory without the reserve."""

    cpu: float | None = None
    cpu_request: float = 0.125
    memory_mib: int | None = None
    pids: int = 4096


@dataclass(frozen=True, slots=True)
class TemplateSpec:
    """A template, a process to fork containers from: a zygote, or a snapshot. With `boot`, `template(boot)` of the
    module `entry` is called in it.

    `sys_path` goes before Python's own path, and `sys_path_end` after it. The module `entry` has `template(boot) ->
    (state, report)`, and `guest(state)`, which returns an object with `live(sock) -> exit code` in a child. It may have
    `rehearse()`, which a child calls while it waits.
    """

    key: str
    root: RootSpec
    uid_base: int
    python: str
    sys_path: tuple[str, ...] = ()
    sys_path_end: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    boot: dict[str, Any] | None = None
    entry: str = "inrush.guest.warm"
    cwd: str = "/"
    limits: Limits = Limits()
    network: str = "none"
    timeout_s: float = 300.0


@dataclass(frozen=True, slots=True)
class ForkSpec:
    """A container that is forked from a template. Its root has the layers named here, and for a snapshot also what the
    snapshot has written."""

    id: str
    template: str
    root: RootSpec
    limits: Limits = Limits()
    network: str = "nat"
    hostname: str = ""
    env: dict[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    cwd: str = "/"


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A container that executes a program. `caps` is `none`, or `build` for the capabilities that installing packages
    needs, over files of the app's user namespace."""

    id: str
    root: RootSpec
    argv: tuple[str, ...]
    uid_base: int
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    limits: Limits = Limits()
    network: str = "nat"
    caps: str = "none"
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Terminal:
    """A pseudo-terminal to make in a container, with its size."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class EnterSpec:
    """A further program to execute in a running container, under the id `id`. With `terminal` its standard descriptors
    are a pseudo-terminal of the container, and the descriptors of the order are one socket, to which the controlling
    side of the terminal is sent."""

    id: str
    container: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    terminal: Terminal | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """A container has started. `phases` are (name, ms). `why` says what it lacks of what was asked; empty if
    nothing."""

    pid: int
    phases: tuple[tuple[str, float], ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class TemplateUp:
    """A template is ready. `report` is what its `template(boot)` returned; `{}` without `boot`. Forks are safe only if
    `threads` is 1. `memory_mib` is the process's proportional set size."""

    pid: int
    ms: float
    threads: int
    report: dict[str, Any] = field(default_factory=dict)
    why: str = ""
    memory_mib: float = 0.0


@dataclass(frozen=True, slots=True)
class Exited:
    """The end of a container, of a program entered into one, or (with its key) of a template that died by itself."""

    id: str
    code: int
    signal: int = 0
    oom: bool = False
    cpu_s: float = 0.0
    memory_peak_mib: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Resources of one container: CPU seconds so far, memory now and at its peak, processes now."""

    cpu_s: float = 0.0
    memory_mib: float = 0.0
    memory_peak_mib: float = 0.0
    pids: int = 0


def to_json(value: Any) -> dict[str, Any]:
    """The JSON form of a spec or a result. (`dataclasses.asdict` copies deeply, which takes ten times as long.)"""
    return {name: _plain(getattr(value, name)) for name in _names(value.__class__)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return to_json(value) if dataclasses.is_dataclass(value) else value


@functools.cache
def _names(cls: Hashable) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]
