"""What passes between containers, the node and the outside: one nft table, forwarding, and an exception in others'
firewalls.

Launchers of several state directories share a node: what is found and then changed (a free range of addresses, whether
packets are forwarded) is found and changed by one of them at a time.

Docker and ufw set the FORWARD chain of iptables to drop what they do not know, and no other table can overrule that.
Where it is so, two rules for our bridge are put first in that chain, and taken out again at the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_CHANGED = Path("/run/inrush-ip-forward")
"""Exists while ip_forward is on only because some launcher on this node switched it on."""

_LOCK = "/run/inrush-network.lock"

_TABLE = """
table inet {table} {{}}
delete table inet {table}
table inet {table} {{
  chain input {{ type filter hook input priority -10; policy accept
    iifname "{bridge}" reject
  }}
  chain forward {{ type filter hook forward priority -10; policy accept
    iifname "{bridge}" oifname "{bridge}" drop
    iifname "{bridge}" ip saddr != {subnet} drop
    iifname "{bridge}" meta nfproto ipv6 drop
    oifname "{bridge}" ct state established,related accept
    oifname "{bridge}" drop
  }}
  chain postrouting {{ type nat hook postrouting priority 100; policy accept
    ip saddr {subnet} oifname != "{bridge}" masquerade
  }}
}}
"""


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """No other launcher of this node changes its network meanwhile."""
    fd = os.open(_LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def set_up(table: str, bridge: str, subnet: str) -> None:
    """Let containers out, and nothing else. Raises `OSError` where the kernel refuses."""
    nft(_TABLE.format(table=table, bridge=bridge, subnet=subnet))
    if "-P FORWARD DROP" in _iptables("-S", "FORWARD"):
        for rule in _exceptions(bridge):
            _iptables("-I", "FORWARD", *rule)
    if _FORWARD.read_text().strip() == "0":
        _CHANGED.touch()
        _FORWARD.write_text("1")


def tear_down(table: str, bridge: str) -> None:
    """Take it all back; what is not there is fine."""
    with contextlib.suppress(OSError):
        nft(f"table inet {table} {{}}\ndelete table inet {table}\n")
    if bridge in _iptables("-S", "FORWARD"):
        for rule in _exceptions(bridge):
            _iptables("-D", "FORWARD", *rule)


def restore_forwarding(bridges: list[str]) -> None:
    """Switch forwarding off again if a launcher had switched it on and no launcher's bridge is left on this node."""
    if _CHANGED.exists() and not bridges:
        with contextlib.suppress(OSError):
            _FORWARD.write_text("0")
            _CHANGED.unlink()


def _exceptions(bridge: str) -> list[tuple[str, ...]]:
    back = ("-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT")
    return [("-i", bridge, "!", "-o", bridge, "-j", "ACCEPT"), back]


def _iptables(*arguments: str) -> str:
    """What it prints; nothing where it is not installed or fails."""
    program = shutil.which("iptables", path=_PATH)
    if program is None:
        return ""
    return subprocess.run([program, "-w", "5", *arguments], capture_output=True, text=True, timeout=30).stdout


def nft(script: str) -> None:
    """Run a script of nft's, all or nothing."""
    program = shutil.which("nft", path=_PATH)
    if program is None:
        raise OSError("nft is not installed (package nftables): containers get no network")
    done = subprocess.run([program, "-f", "-"], input=script, text=True, capture_output=True, timeout=30)
    if done.returncode:
        raise OSError(f"nft: {done.stderr.strip()}")
