"""What passes between containers, the node and the outside: one nft table, forwarding, and an exception in others'
firewalls.

The table looks at a packet of a container before anything else does, even before connections are tracked, so that
nobody's translation of addresses (ports that Docker publishes, say) leads it to where it may not go.

Launchers of several state directories share a node: what is found and then changed (a free range of addresses, whether
packets are forwarded) is found and changed by one of them at a time.

Docker and ufw set the FORWARD chain of iptables to drop what they do not know, and no other table can overrule that.
Where it is so, two rules for our links are put first in that chain, and taken out again at the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from inrush.launcher import routes

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_CHANGED = Path("/run/inrush-ip-forward")
"""Exists while ip_forward is on only because some launcher on this node switched it on."""

_LOCK = "/run/inrush-network.lock"

_TABLE = """
table inet {table} {{}}
delete table inet {table}
table inet {table} {{
  set node {{ type ipv4_addr; flags interval; auto-merge; }}
  set blocked {{ type ipv4_addr; flags interval; auto-merge; {blocked} }}
  set resolvers {{ type ipv4_addr; {resolvers} }}
  chain prerouting {{ type filter hook prerouting priority raw; policy accept
    iifname != "{device}-*" accept
    meta nfproto != ipv4 drop
    ip saddr != {subnet} drop
    fib saddr . iif oif missing drop
    fib daddr type local goto refused
    fib daddr type {{ broadcast, multicast, anycast }} drop
    ip daddr {subnet} drop
    ip daddr @node goto refused
    meta l4proto {{ tcp, udp }} th dport 53 ip daddr @resolvers accept
    ip daddr @blocked goto refused
  }}
  chain refused {{
    meta l4proto tcp reject with tcp reset
    reject with icmp type admin-prohibited
  }}
  chain input {{ type filter hook input priority -10; policy accept
    iifname "{device}-*" reject
  }}
  chain forward {{ type filter hook forward priority -10; policy accept
    iifname "{device}-*" jump leaving
    oifname "{device}*" ct state established,related accept
    oifname "{device}*" drop
  }}
  chain leaving {{
    ct state invalid drop
    oifname "inrush*" drop
    meta oifkind "bridge" {unless_way_out} drop
  }}
  chain postrouting {{ type nat hook postrouting priority 100; policy accept
    iifname "{device}-*" masquerade
  }}
}}
"""
"""`fib saddr . iif oif`: a route of the source that leads out by the link of which the packet came, so only its own.
Connections are refused by a reset, since the kernel sends few ICMP messages a second to one receiver.
`node` is filled where the launcher lives in a network of its own, to which the node's addresses are foreign.
Bridges hold other containers or machines of this node (Docker's, libvirt's), unless one is the node's way out.
"""


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """No other launcher of this network changes it meanwhile. Who may not write in /run has a network of his own."""
    try:
        fd = os.open(_LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except PermissionError:
        yield
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def set_up(table: str, device: str, subnet: str, blocked: Sequence[str]) -> None:
    """Let containers out, but to none of the `blocked` networks, and nothing else. The node's resolvers may be among
    those: names are resolved all the same. Raises `OSError` where the kernel refuses.
    """
    out = routes.ways_out()
    script = _TABLE.format(
        table=table,
        device=device,
        subnet=subnet,
        blocked=_elements(str(network) for network in map(ipaddress.ip_network, blocked) if network.version == 4),
        resolvers=_elements(routes.resolvers()),
        unless_way_out=f"oifname != {{ {', '.join(map(json.dumps, out))} }}" if out else "",
    )
    nft(script)
    if "-P FORWARD DROP" in _iptables("-S", "FORWARD"):
        for rule in _exceptions(device):
            _iptables("-I", "FORWARD", *rule)
    if _FORWARD.read_text().strip() == "0":
        with contextlib.suppress(PermissionError):  # then the network is this launcher's own, and goes with it
            _CHANGED.touch()
        _FORWARD.write_text("1")


def forbid(table: str, networks: Sequence[str]) -> None:
    """The networks that are the node's own, from now on. Raises `OSError` where the kernel refuses."""
    added = f"add element inet {table} node {{ {', '.join(networks)} }}\n" if networks else ""
    nft(f"flush set inet {table} node\n{added}")


def _elements(addresses: Iterable[str]) -> str:
    shown = ", ".join(sorted(set(addresses)))
    return f"elements = {{ {shown} }}" if shown else ""


def tear_down(table: str, device: str) -> None:
    """Take it all back; what is not there is fine."""
    with contextlib.suppress(OSError):
        nft(f"table inet {table} {{}}\ndelete table inet {table}\n")
    if device in _iptables("-S", "FORWARD"):
        for rule in _exceptions(device):
            _iptables("-D", "FORWARD", *rule)


def restore_forwarding(devices: list[str]) -> None:
    """Switch forwarding off again if a launcher had switched it on and no launcher's device is left on this node."""
    if _CHANGED.exists() and not devices:
        with contextlib.suppress(OSError):
            _FORWARD.write_text("0")
            _CHANGED.unlink()


def _exceptions(device: str) -> list[tuple[str, ...]]:
    links = f"{device}-+"
    back = ("-o", links, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT")
    return [("-i", links, "!", "-o", links, "-j", "ACCEPT"), back]


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
