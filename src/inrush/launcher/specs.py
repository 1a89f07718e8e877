"""What agent and launcher say to each other: specs, results, and their JSON form.

The launcher runs on the standard library alone (it is small, and starts before anything else), hence dataclasses here.
All paths are the host's, all user ids too, unless a comment says otherwise.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

FIRST_UID = 0x0010_0000
UID_RANGE = 65_536
"""How many user and group ids an app's user namespace has."""
MAX_RANGES = 16_384
"""FIRST_UID + MAX_RANGES * UID_RANGE stays below 2**31, which some file systems and tools take as signed."""

GUEST_LIB = "/opt/inrush/lib"
"""Where in a container the `inrush` package is; whoever makes a template binds it there."""


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory of the host shown at `dst` in the container."""

    src: str
    dst: str
    readonly: bool = True


@dataclass(frozen=True, slots=True)
class RootSpec:
    """The file system of a container.

    `layers` are directories of the store, top first, with owners from its first id. What the container writes goes to
    `upper`, a directory of the store that is kept (image builds), or, where that is empty, to memory (charged to the
    container), up to `disk_mib`.
    """

    layers: tuple[str, ...]
    binds: tuple[Bind, ...] = ()
    upper: str = ""
    hostname: str = ""
    resolv: bool = True
    disk_mib: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """`cpu` is a hard quota in cores, `cpu_request` the share under contention. Memory None: the node's less the
    reserve.
    """

    cpu: float | None = None
    cpu_request: float = 0.125
    memory_mib: int | None = None
    pids: int = 4096


@dataclass(frozen=True, slots=True)
class TemplateSpec:
    """A process to fork containers from: a zygote, or with `boot` a snapshot (`entry`'s `template(boot)` is called
    in it).

    `sys_path` goes in front of Python's own path, `sys_path_end` behind it. `entry` is the module that has
    `template(boot) -> (state, report)`, and `guest(state)`, which gives a child what has `live(sock) -> exit code`;
    it may have `rehearse()`, for a child that waits.
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
    """A container forked from a template. Its root has the layers named here only (a snapshot's writes are added)."""

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
    """A container that executes a program. `caps` is `none`, or `build`: what installing packages needs, in the
    app's user namespace.
    """

    id: str
    root: RootSpec
    argv: tuple[str, ...]
    uid_base: int
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    limits: Limits = Limits()
    network: str = "nat"
    caps: str = "none"
    tty: bool = False
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnterSpec:
    """A further program in a running container, known as `id` until it ends."""

    id: str
    container: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    tty: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """`pid` is the host's. `phases` are (name, ms). `why` says what the container lacks of what was asked, else it
    is empty.
    """

    pid: int
    phases: tuple[tuple[str, float], ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class TemplateUp:
    """A template is ready. `report` is what its `template(boot)` returned, `{}` for a zygote. `threads` must be 1
    for forks to be safe. `memory_mib` is what the process holds alone, and its part of what it shares.
    """

    pid: int
    ms: float
    threads: int
    report: dict[str, Any] = field(default_factory=dict)
    why: str = ""
    memory_mib: float = 0.0


@dataclass(frozen=True, slots=True)
class Exited:
    """The end of a container, of a program entered into one, or (by its key) of a template that died by itself."""

    id: str
    code: int
    signal: int = 0
    oom: bool = False
    cpu_s: float = 0.0
    memory_peak_mib: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one container: CPU seconds so far, memory now and at its highest, processes now."""

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
