"""Landlock: a process gives up, for itself and its children, the right to write outside of some directories."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from inrush.linux.calls import syscall
from inrush.linux.process import no_new_privileges

_VERSION = 1
_PATH_BENEATH = 1
# write, remove_dir, remove_file, make_{char, dir, reg, sock, fifo, block, sym}
_WRITES = sum(1 << bit for bit in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12))
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_ON_FILES = (1 << 1) | _TRUNCATE


def version() -> int:
    """The kernel's Landlock version; 0 if it has no Landlock."""
    try:
        return syscall("landlock_create_ruleset", None, 0, _VERSION)
    except OSError:
        return 0


def confine_writes(below: Iterable[str]) -> bool:
    """Restricts writing, creating, renaming and removing to these paths. Returns False where the kernel has no Landlock
    2 (Linux 5.19), since version 1 would also forbid every rename from one directory to another."""
    known = version()
    if known < 2:
        return False
    handled = _WRITES | _REFER | (_TRUNCATE if known >= 3 else 0)
    rules = syscall("landlock_create_ruleset", struct.pack("Q", handled), 8, 0)
    for path in below:
        _allow(rules, path, handled)
    no_new_privileges()
    syscall("landlock_restrict_self", rules, 0)
    os.close(rules)
    return True


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rights &= -1 if os.path.isdir(path) else _ON_FILES
    try:
        syscall("landlock_add_rule", rules, _PATH_BENEATH, struct.pack("<Qi", rights, fd), 0)
    finally:
        os.close(fd)
