"""The firewall between containers, the node and the outside: one nft table, IP forwarding, and exceptions in iptables.

The table filters a container's packets before connection tracking and before any other table, so that address
translation of another program (ports that Docker publishes, say) cannot send them where they may not go.

Launchers of several state directories share a node, so they take a lock while they choose a free range of addresses or
change whether packets are forwarded.

Docker and ufw set the policy of the iptables chains FORWARD and INPUT to drop, and no other table can override that. In
that case rules for the links of containers are inserted at the top of the chain, and removed at the end. What reaches
those chains from a container is what the table has let through; of INPUT, they let pass only what goes to the address
of the launcher's own gateway.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import ipaddress
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from inrush.launcher import routes

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_CHANGED = Path("/run/inrush-ip-forward")
"""This file exists while ip_forward is on because a launcher of this node switched it on."""

_CHAINS = ("FORWARD", "INPUT")
_LOCK = "/run/inrush-network.lock"

MAX_CONNECTIONS = 8_192
"""The most connections of one container to the outside at once; an eighth of the kernel's table if that is less."""
_CONNTRACK_MAX = Path("/proc/sys/net/netfilter/nf_conntrack_max")
LINGER_S = 5
"""How long a closed TCP connection of a container stays in the kernel's table; the kernel's default is two minutes."""
_LIMIT = """ct state new add @connections {{ ip saddr ct count over {count} }} goto refused
    ct state new update @rates {{ ip saddr limit rate over {rate}/second burst {count} packets }} goto refused"""
_BRIEF = 'ct state new meta l4proto tcp ct timeout set "brief"'
_POLICY = "ct timeout brief {{ protocol tcp; l3proto ip; policy = {{ time_wait : {linger}, close : {linger} }} ; }}"

_TABLE = """
table inet {table} {{}}
delete table inet {table}
table inet {table} {{
  set node {{ type ipv4_addr; flags interval; auto-merge; }}
  set blocked {{ type ipv4_addr; flags interval; auto-merge; {blocked} }}
  set resolvers {{ type ipv4_addr; {resolvers} }}
  set entrance {{ type ipv4_addr . inet_service; {entrance} }}
  set connections {{ type ipv4_addr; size 65536; flags dynamic; }}
  set rates {{ type ipv4_addr; size 65536; flags dynamic, timeout; timeout 1m; }}
  {policy}
  chain prerouting {{ type filter hook prerouting priority raw; policy accept
    iifname != "{device}-*" accept
    meta nfproto != ipv4 drop
    ip saddr != {subnet} drop
    fib saddr . iif oif missing drop
    ip daddr . tcp dport @entrance accept
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
    iifname "{device}-*" ip daddr . tcp dport @entrance jump entering
    iifname "{device}-*" reject
  }}
  chain entering {{
    ct state invalid drop
    {limit}
    {brief}
    accept
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
    {limit}
    {brief}
  }}
  chain postrouting {{ type nat hook postrouting priority 100; policy accept
    iifname "{device}-*" masquerade
  }}
}}
"""
"""`fib saddr . iif oif` requires that the route to the source leads out by the link on which the packet came, so a
container can use only its own address. TCP connections are refused by a reset, since the kernel limits ICMP messages to
one receiver to a few a second. The set `entrance` has the one address of this node that containers may connect to, once
it is asked for (`Network.entrance`). `ct count` leaves out closed TCP connections, which stay in the kernel's table for
a while, so those are kept briefly, and new connections are limited to a rate. The set `node` is used when the launcher
has a network namespace of its own, in which the node's addresses are not local. Bridges connect other containers or
virtual machines of this node (Docker's, libvirt's), unless one carries the node's default route.
"""


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Locks the network of this node against other launchers. A launcher that may not write to /run has a network
    namespace of its own, and needs no lock."""
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
    """Puts the table, and sees to it that packets of containers are forwarded. Raises `OSError` if the kernel
    refuses."""
    put(table, device, subnet, blocked)
    for chain, rules in _exceptions(device, subnet).items():
        if f"-P {chain} DROP" in _iptables("-S", chain):
            for rule in rules:
                _iptables("-I", chain, *rule)
    if _FORWARD.read_text().strip() == "0":
        with contextlib.suppress(PermissionError):  # then the network namespace is this launcher's own, and ends with
            # it
            _CHANGED.touch()
        _FORWARD.write_text("1")


def put(table: str, device: str, subnet: str, blocked: Sequence[str], entrance: str = "") -> None:
    """Puts the table in place of what is there of it: containers may connect to the outside except to the `blocked`
    networks, to the `entrance` (as `admit` takes it), and nothing may connect to them. Resolvers in a blocked network
    stay reachable for DNS. Raises `OSError` if the kernel refuses."""
    out = routes.ways_out()
    filled = functools.partial(
        _TABLE.format,
        table=table,
        device=device,
        subnet=subnet,
        blocked=_elements(str(network) for network in map(ipaddress.ip_network, blocked) if network.version == 4),
        resolvers=_elements(routes.resolvers()),
        entrance=_elements([entrance] if entrance else []),
        unless_way_out=f"oifname != {{ {', '.join(map(json.dumps, out))} }}" if out else "",
    )
    count = _connections()
    limit = _LIMIT.format(count=count, rate=count // 4)
    attempts = (
        filled(limit=limit, brief=_BRIEF, policy=_POLICY.format(linger=LINGER_S)),
        filled(limit=limit, brief="", policy=""),  # for a kernel without time limits of single connections
        filled(limit="", brief="", policy=""),  # for one that does not count connections
    )
    for script in attempts[:-1]:
        with contextlib.suppress(OSError):
            nft(script)
            return
    nft(attempts[-1])


def _connections() -> int:
    with contextlib.suppress(OSError):  # a kernel that loads the module later
        return min(MAX_CONNECTIONS, int(_CONNTRACK_MAX.read_text()) // 8)
    return MAX_CONNECTIONS


def admit(table: str, entrance: str) -> None:
    """Lets containers connect to `entrance`, which is "address . port" of TCP. Raises `OSError` if the kernel
    refuses."""
    nft(f"add element inet {table} entrance {{ {entrance} }}\n")


def forbid(table: str, networks: Sequence[str]) -> None:
    """Replaces the set of the node's own networks, which containers may not reach. Raises `OSError` if the kernel
    refuses."""
    added = f"add element inet {table} node {{ {', '.join(networks)} }}\n" if networks else ""
    nft(f"flush set inet {table} node\n{added}")


def _elements(addresses: Iterable[str]) -> str:
    shown = ", ".join(sorted(set(addresses)))
    return f"elements = {{ {shown} }}" if shown else ""


def tear_down(table: str, device: str) -> None:
    """Removes the table and the exceptions, if they exist."""
    with contextlib.suppress(OSError):
        nft(f"table inet {table} {{}}\ndelete table inet {table}\n")
    for chain in _CHAINS:
        for rule in _iptables("-S", chain).splitlines():
            if f"{device}-+" in rule:
                _iptables("-D", *shlex.split(rule)[1:])


def restore_forwarding(devices: list[str]) -> None:
    """Switches forwarding off if a launcher had switched it on and no launcher's device is left on this node."""
    if _CHANGED.exists() and not devices:
        with contextlib.suppress(OSError):
            _FORWARD.write_text("0")
            _CHANGED.unlink()


def _exceptions(device: str, subnet: str) -> dict[str, list[tuple[str, ...]]]:
    links = f"{device}-+"
    back = ("-o", links, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT")
    return {
        "FORWARD": [("-i", links, "!", "-o", links, "-j", "ACCEPT"), back],
        "INPUT": [("-i", links, "-d", subnet, "-p", "tcp", "-j", "ACCEPT")],
    }


def _iptables(*arguments: str) -> str:
    """The output of iptables; empty if it is not installed or fails."""
    program = shutil.which("iptables", path=_PATH)
    if program is None:
        return ""
    return subprocess.run([program, "-w", "5", *arguments], capture_output=True, text=True, timeout=30).stdout


def nft(script: str) -> None:
    """Runs a script of nft, which is applied as a whole or not at all. Raises `OSError` with what nft printed."""
    program = shutil.which("nft", path=_PATH)
    if program is None:
        raise OSError("nft is not installed, so containers get no network: install the package nftables")
    done = subprocess.run([program, "-f", "-"], input=script, text=True, capture_output=True, timeout=30)
    if done.returncode:
        raise OSError(f"nft: {done.stderr.strip()}")
