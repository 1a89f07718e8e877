"""The last step before foreign code runs: the process drops its capabilities, can gain no new ones, and is put under a
seccomp filter."""

from __future__ import annotations

from collections.abc import Iterable

from inrush.linux import caps, process, seccomp


def confine(filter_code: bytes, keep: Iterable[str] = (), bounded: bool = False) -> None:
    """Drops all capabilities but those in `keep`, and loads the filter, for good. `filter_code` comes from
    `seccomp.program`. `bounded` says that a parent has dropped the bounding set already."""
    (caps.use_only if bounded else caps.keep_only)(keep)
    filter_only(filter_code)


def filter_only(filter_code: bytes) -> None:
    """Forbids gaining privileges, and loads the filter, for good. An empty `filter_code` loads none."""
    process.no_new_privileges()
    if filter_code:
        seccomp.load(filter_code)
