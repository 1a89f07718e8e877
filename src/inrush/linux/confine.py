"""The last step before foreign code: no capabilities, no way to new ones, and the filter of system calls."""

from __future__ import annotations

from collections.abc import Iterable

from inrush.linux import caps, process, seccomp


def confine(filter_code: bytes, keep: Iterable[str] = (), bounded: bool = False) -> None:
    """Give up everything but the capabilities in `keep`, for good. `filter_code` comes from `seccomp.program`;
    `bounded` where a parent has dropped the bounds already.
    """
    (caps.use_only if bounded else caps.keep_only)(keep)
    filter_only(filter_code)


def filter_only(filter_code: bytes) -> None:
    """No way to new privileges, and the filter, for good; an empty one is none."""
    process.no_new_privileges()
    if filter_code:
        seccomp.load(filter_code)
