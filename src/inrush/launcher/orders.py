"""Decodes the agent's orders: every field has the type and the bounds of its spec, or the order is refused.

The agent is not privileged, and an attacker may have taken it over, so no value of an order is used before it was
checked here. `places` decides which paths are allowed; this file checks all other values.
"""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import os
import signal
import stat
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from inrush.launcher.places import Refused
from inrush.launcher.specs import (
    FIRST_UID,
    MAX_RANGES,
    UID_RANGE,
    Bind,
    EnterSpec,
    ForkSpec,
    Limits,
    RootSpec,
    RunSpec,
    TemplateSpec,
    Terminal,
)

MAX_LAYERS = 400
"""The most layers of one container; overlayfs takes 500 lower directories."""
MAX_BINDS = 128
MAX_DEVICES = 128
MAX_PATH_CHARS = 4_000
MAX_NAME_CHARS = 100
MAX_CPU = 4_096
MAX_MEMORY_MIB = 1 << 26
MAX_PIDS = 1 << 22
MAX_TIMEOUT_S = 7 * 86_400.0
MAX_NAMES = 64
MAX_TERMINAL = 65_535
"""The most rows, and columns, of a terminal; the kernel keeps them in 16 bits."""

_MOST = 1e15
"""The largest number in an order; NaN and infinity are refused too."""
_FILES = ("tasks", "notify_on_release", "release_agent")
"""The files of a control group that have no dot in their names."""
_OURS = ("ahead-", "template-")

T = TypeVar("T")
Check = Callable[[Any, str], Any]


def decode(kind: type[T], data: object) -> T:
    """Decodes the JSON of an order to its spec. Raises `Refused`, which names the field that is wrong."""
    if not isinstance(data, dict):
        raise Refused(f"a {kind.__name__} is an object, not {type(data).__name__}")
    plan = _plan(kind)  # type: ignore[arg-type]
    for name in data:
        if name not in plan:
            raise Refused(f"a {kind.__name__} has no field {str(name)[:MAX_NAME_CHARS]!r}")
    values = {name: plan[name](value, name) for name, value in data.items()}
    try:
        made = kind(**values)
    except TypeError as error:
        raise Refused(str(error)) from None
    if check := _BOUNDS.get(kind):
        check(made)
    return made


def name(value: object, what: str) -> str:
    """Checks a key or an id. It becomes the name of a control group, so it must not be the name of a file or of another
    group there."""
    if not isinstance(value, str) or not _is_name(value) or "." in value or value in _FILES or value.startswith(_OURS):
        raise Refused(f"{what} {str(value)[:MAX_NAME_CHARS]!r} is not a plain name")
    return value


def names(value: object, what: str) -> list[str]:
    """Checks a list of ids."""
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        raise Refused(f"{what} is not a list of at most {MAX_NAMES}")
    return [name(each, what) for each in value]


def uid_base(value: object, what: str = "uid_base") -> int:
    """Checks the first id of an app's range: ranges begin at multiples of `UID_RANGE` from `FIRST_UID` on, so two
    ranges are the same or have no id in common."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(f"{what} must be a number")
    slot, rest = divmod(value - FIRST_UID, UID_RANGE)
    if rest or not 0 <= slot < MAX_RANGES:
        raise Refused(f"{what} {value} is not the first id of a range from {FIRST_UID} on, {UID_RANGE} ids each")
    return value


def path(value: object, what: str) -> str:
    """Checks an absolute path of the node, which `places` then opens."""
    text = _text(value, what)
    if not text.startswith("/") or len(text) > MAX_PATH_CHARS:
        raise Refused(f"{what} is not an absolute path")
    return text


def signum(value: object) -> int:
    """Checks the number of a signal."""
    try:
        return signal.Signals(value)  # type: ignore[arg-type]
    except ValueError:
        raise Refused(f"there is no signal {str(value)[:MAX_NAME_CHARS]}") from None


# ── types ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def check_streams(fds: Sequence[int], wanted: int) -> None:
    """Checks the number and kinds of an order's descriptors. Directories are refused: through one, a container could
    reach files of the machine that the agent itself is not allowed to write."""
    if len(fds) != wanted:
        raise Refused(f"this request takes {wanted} descriptors, not {len(fds)}")
    for fd in fds:
        mode = os.fstat(fd).st_mode
        known = any(kind(mode) for kind in (stat.S_ISFIFO, stat.S_ISSOCK, stat.S_ISCHR, stat.S_ISREG))
        if not known or fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_PATH:
            raise Refused("a container takes pipes, sockets, terminals and open files, and no other descriptors")


@functools.cache
def _plan(kind: type) -> dict[str, Check]:
    hints = typing.get_type_hints(kind)
    return {field.name: _check(hints[field.name]) for field in dataclasses.fields(kind)}


def _check(hint: Any) -> Check:
    """The function that decodes the JSON of a field of this type."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return lambda value, what: decode(hint, value)  # type: ignore[arg-type]
    if origin is tuple:
        return functools.partial(_many, _check(inner[0]))
    if type(None) in inner:
        known = _check(next(each for each in inner if each is not type(None)))
        return lambda value, what: None if value is None else known(value, what)
    if (origin or hint) is dict:
        return _variables if inner[1] is str else _object
    return {str: _text, bool: _flag, int: _whole, float: _number}[hint]


def _many(check: Check, value: object, what: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise Refused(f"{what} must be a list")
    return tuple([check(each, what) for each in value])


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise Refused(f"{what} must be text without zero bytes")
    return value


def _flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise Refused(f"{what} must be true or false")
    return value


def _whole(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(f"{what} must be a whole number")
    return value


def _number(value: object, what: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= _MOST:
        raise Refused(f"{what} must be a number")
    return value


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"{what} must be an object")
    return value


def _variables(value: object, what: str) -> dict[str, str]:
    for key, text in _object(value, what).items():
        if not key or "=" in key or "\0" in key:
            raise Refused(f"{what} has a variable with an impossible name")
        _text(text, what)
    return value  # type: ignore[return-value]


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _within(value: float | None, low: float, high: float, what: str) -> None:
    if value is not None and not low <= value <= high:
        raise Refused(f"{what} {value} is not between {low} and {high}")


def _one_of(value: str, known: tuple[str, ...], what: str) -> None:
    if value not in known:
        raise Refused(f"{what} must be one of {', '.join(known)}")


def _bind(spec: Bind) -> None:
    path(spec.src, "the source of a bind")
    if ".." in path(spec.dst, "the target of a bind").split("/") or not spec.dst.strip("/"):
        raise Refused(f"nothing can be bound at {spec.dst!r}")


def _root(spec: RootSpec) -> None:
    if not spec.layers:
        raise Refused("a container needs at least one layer")
    if len(spec.layers) > MAX_LAYERS or len(spec.binds) > MAX_BINDS:
        raise Refused(f"a container has at most {MAX_LAYERS} layers and {MAX_BINDS} binds")
    for each in (*spec.layers, *filter(None, [spec.upper])):
        path(each, "a layer")
    _hostname(spec.hostname)
    _within(spec.disk_mib, 1, MAX_MEMORY_MIB, "disk_mib")


def _hostname(value: str) -> None:
    """Checks a host name, which is written into files of the container."""
    if value and not _is_name(value):
        raise Refused(f"{value[:MAX_NAME_CHARS]!r} is no host name")


def _limits(spec: Limits) -> None:
    _within(spec.cpu, 0, MAX_CPU, "cpu")
    _within(spec.cpu_request, 0, MAX_CPU, "cpu_request")
    _within(spec.memory_mib, 1, MAX_MEMORY_MIB, "memory_mib")
    _within(spec.pids, 1, MAX_PIDS, "pids")


def _template(spec: TemplateSpec) -> None:
    name(spec.key, "the template key")
    uid_base(spec.uid_base)
    _one_of(spec.network, ("none", "nat"), "network")
    _within(spec.timeout_s, 0, MAX_TIMEOUT_S, "timeout_s")


def _fork(spec: ForkSpec) -> None:
    name(spec.id, "the container id")
    name(spec.template, "the template key")
    _one_of(spec.network, ("none", "nat"), "network")
    _hostname(spec.hostname)
    _devices(spec.devices)


def _run(spec: RunSpec) -> None:
    name(spec.id, "the container id")
    uid_base(spec.uid_base)
    _program(spec.argv)
    _one_of(spec.network, ("none", "nat"), "network")
    _one_of(spec.caps, ("none", "build"), "caps")
    _devices(spec.devices)


def _enter(spec: EnterSpec) -> None:
    name(spec.id, "the id of the program")
    name(spec.container, "the container id")
    _program(spec.argv)


def _terminal(spec: Terminal) -> None:
    _within(spec.rows, 0, MAX_TERMINAL, "rows")
    _within(spec.columns, 0, MAX_TERMINAL, "columns")


def _program(argv: tuple[str, ...]) -> None:
    if not argv or not argv[0]:
        raise Refused("argv names no program")


def _devices(devices: tuple[str, ...]) -> None:
    if len(devices) > MAX_DEVICES:
        raise Refused(f"a container has at most {MAX_DEVICES} devices")


def _is_name(text: str) -> bool:
    return (
        0 < len(text) <= MAX_NAME_CHARS
        and text.isascii()
        and all(c.isalnum() or c in "-_." for c in text)
        and text[0] not in "-."
    )


_BOUNDS: dict[type, Callable[[Any], None]] = {
    Bind: _bind,
    RootSpec: _root,
    Limits: _limits,
    TemplateSpec: _template,
    ForkSpec: _fork,
    RunSpec: _run,
    EnterSpec: _enter,
    Terminal: _terminal,
}
