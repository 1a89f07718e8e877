"""Capabilities: a process drops all but a few named ones, for good."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable

from inrush.linux.calls import libc, syscall

_NUMBERS = {
    "chown": 0,
    "dac_override": 1,
    "fowner": 3,
    "fsetid": 4,
    "kill": 5,
    "setgid": 6,
    "setuid": 7,
    "setpcap": 8,
    "net_admin": 12,
    "sys_chroot": 18,
    "sys_admin": 21,
    "setfcap": 31,
}

BUILD = ("chown", "dac_override", "fowner", "fsetid", "setuid", "setgid", "setfcap", "kill", "sys_chroot")
"""The capabilities that installing packages needs; they hold over files of the build's own user namespace only."""

_CLEAR_AMBIENT = 4


def keep_only(names: Iterable[str] = ()) -> None:
    """Drops every capability not named, from the bounding and ambient sets too, so that no exec brings one back."""
    names = tuple(names)
    drop_bounds(names)
    use_only(names)


def drop_bounds(keep: Iterable[str] = ()) -> None:
    """Drops capabilities from the bounding and ambient sets: programs that this process and its children execute from
    now on get no others than `keep`. The processes themselves keep what they have. A fork server does this once, for
    all its children."""
    kept = {_NUMBERS[n] for n in keep}
    for number in range(last() + 1):
        if number not in kept:
            libc.prctl(24, number, 0, 0, 0)
    libc.prctl(47, _CLEAR_AMBIENT, 0, 0, 0)


def use_only(names: Iterable[str] = ()) -> None:
    """Drops all capabilities of this process that are not named."""
    bits = mask(names)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    syscall("capset", struct.pack("Ii", 0x20080522, 0), struct.pack("IIIIII", low, low, 0, high, high, 0))


def mask(names: Iterable[str]) -> int:
    """The bit mask of named capabilities, as /proc/PID/status shows it."""
    return sum(1 << _NUMBERS[n] for n in names)


def has(name: str, status: dict[str, str]) -> bool:
    """Whether a process has a capability in effect; `status` is what `read_status` returned for it."""
    return bool(int(status["CapEff"], 16) >> _NUMBERS[name] & 1)


def read_status(pid: int | str = "self") -> dict[str, str]:
    """The fields of /proc/PID/status, by name."""
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


@functools.cache
def last() -> int:
    """The number of the highest capability of this kernel; 63 if it does not tell."""
    try:
        with open("/proc/sys/kernel/cap_last_cap") as file:
            return int(file.read())
    except OSError:
        return 63
