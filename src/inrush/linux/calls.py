"""libc, raw system calls by name, and errno as `OSError`.

The numbers of old calls differ between x86-64 and aarch64; calls since 2018 have the same number on every machine.
"""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
_raw = libc.syscall
_raw.restype = ctypes.c_long

MACHINE = os.uname().machine

_OLD: dict[str, tuple[int, int]] = {
    "pivot_root": (155, 41),
    "capset": (126, 91),
    "seccomp": (317, 277),
    "clone": (56, 220),
}
_NEW: dict[str, int] = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "openat2": 437,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}
_NUMBERS = _NEW | {name: pair[MACHINE == "aarch64"] for name, pair in _OLD.items()}


def checked(result: int, what: str) -> int:
    """Returns `result`, or raises the `OSError` of errno when it is negative."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


def syscall(name: str, *arguments: int | bytes | None, what: str = "") -> int:
    """Makes a raw system call; bytes are passed as a pointer to them."""
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return checked(int(_raw(ctypes.c_long(_NUMBERS[name]), *converted)), what or name)


def prctl(option: int, *arguments: int) -> int:
    """prctl(2)."""
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return checked(int(libc.prctl(ctypes.c_int(option), *[ctypes.c_ulong(a) for a in padded])), f"prctl {option}")
