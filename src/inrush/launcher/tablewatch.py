"""Notices that something else on the node has removed an nft table, or a part of it: `nft flush ruleset`, say."""

from __future__ import annotations

import errno
import socket
import struct

_NETLINK_NETFILTER, _NFTABLES, _GROUP_NFTABLES = 12, 10, 7
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_REMOVALS = frozenset(_NFTABLES << 8 | kind for kind in (2, 5, 8, 11))
"""Of `linux/netfilter/nf_tables.h`: a table, a chain, a rule, a set."""


class TableWatch:
    """A socket on which the kernel reports all changes of nft tables in this network namespace. Raises `OSError` if the
    kernel has no nft."""

    def __init__(self, table: str) -> None:
        self._name = table.encode() + b"\0"
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER
        )
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES)

    def fileno(self) -> int:
        """The descriptor, to poll for reports."""
        return self._socket.fileno()

    def removed(self) -> bool:
        """Takes all reports, and says whether anything of the table was removed."""
        found = False
        while True:
            try:
                report = self._socket.recv(1 << 16)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                found = True  # some reports were lost, and nobody knows which
                continue
            while len(report) >= 16:
                length, kind = struct.unpack_from("IH", report)
                found |= kind in _REMOVALS and self._name in report[:length]
                report = report[max(16, (length + 3) & ~3) :]
