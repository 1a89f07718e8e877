"""The way out of an ordinary user's launcher: a program that carries packets as connections of that user.

    the node's network                          the launcher's own network namespace
    pasta or slirp4netns ══ eth0 or tap0 ══════ links of containers, the nft table, masquerading

An ordinary user cannot make links in the node's network, but owns the network of his own user namespace. The launcher
moves there, and so what it makes for containers, and what it forbids them, is what root's launcher makes and forbids.
One such program serves all containers.

What the program connects to, it connects to as a process of the node: the node's loopback is forbidden by its
options, and the node's other addresses and the networks of its bridges by the table, which hears of new ones.

The program lives in a pid namespace whose first process dies with the launcher, so that the kernel ends it however
the launcher ends.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import shutil
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from inrush.launcher import routes
from inrush.linux import links, messages, namespaces, process

_PATH = os.environ.get("PATH") or os.defpath
_TUN = "/dev/net/tun"
READY_S = 10.0
"""For the program to bring the network up."""
LAST_WORDS_BYTES = 4096
"""Kept of what the program says before it ends."""

_NOTHING_LISTENS = ("--tcp-ports=none", "--udp-ports=none", "--tcp-ns=none", "--udp-ns=none")
_NOTHING_IS_TOLD = ("--no-dhcp", "--no-dhcpv6", "--no-ndp", "--no-ra")
_PASTA = ("pasta", "--foreground", "--quiet", "--ipv4-only", "--netns-only", "--config-net", "--no-map-gw")
_SLIRP = ("slirp4netns", "--configure", "--disable-host-loopback", "--disable-dns", "--mtu=65520", "--enable-seccomp")


@dataclass(slots=True)
class UserNetwork:
    """The launcher has moved. `taken` are the networks that the node has routes to."""

    program: str
    taken: list[str]
    keeper: socket.socket
    """Ready to read when the program has ended."""
    _node: links.Netlink
    _ways_out: list[str]

    def fileno(self) -> int:
        """Ready to read when addresses of the node have changed."""
        return self._node.fileno()

    def last_words(self) -> str:
        """Why the program has ended."""
        return str((messages.receive(self.keeper).body or {}).get("ended", "it ended"))

    def forbidden(self) -> list[str]:
        """The node's addresses, and the networks of its bridges, as they are now."""
        self._node.drain()
        return _forbidden(self._node, self._ways_out)


def enter() -> UserNetwork | str:
    """Move this process, which must have rights in its user namespace, to a network of its own with a way out. Where
    that cannot be, nothing is changed, or the network has only loopback, and the answer says why.
    """
    program = next((name for name in ("pasta", "slirp4netns") if shutil.which(name, path=_PATH)), None)
    if program is None:
        return "neither pasta nor slirp4netns is installed (packages passt, slirp4netns)"
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{program} needs {_TUN}: {error.strerror} (as root: chmod 666 {_TUN})"
    node, taken, out = links.Netlink(links.IPV4_ADDRESSES), routes.taken(), routes.ways_out()
    keeper, theirs = messages.pair()
    if (pid := os.fork()) == 0:
        _keep(program, theirs)
    theirs.close()
    namespaces.unshare(namespaces.NEWNET)
    links.loopback_up()
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # then it has ended, and its end is closed
        messages.send(keeper, {}, [own])
    os.close(own)
    os.waitpid(pid, 0)
    why = _wait(keeper)
    if why:
        return f"{program}: {why}"
    return UserNetwork(program, taken, keeper, node, out)


def _wait(keeper: socket.socket) -> str:
    """Until there is a default route; else why there is none."""
    news = links.Netlink(links.IPV4_ROUTES)
    deadline = time.monotonic() + READY_S
    try:
        while not routes.ways_out():
            left_s = deadline - time.monotonic()
            readable, _, _ = select.select([keeper.fileno(), news.fileno()], [], [], max(0.0, left_s))
            if keeper.fileno() in readable:
                body = messages.receive(keeper).body
                return str((body or {}).get("ended", "it ended"))
            if not readable:
                return f"no default route within {READY_S:g} s"
            news.drain()
    finally:
        news.close()
    return ""


def _forbidden(node: links.Netlink, ways_out: list[str]) -> list[str]:
    bridges = {
        int((path.parent / "ifindex").read_text())
        for path in Path("/sys/class/net").glob("*/bridge")  # this file system shows the network where it was mounted
        if path.parent.name not in ways_out
    }
    own = [(address, prefix if index in bridges else 32) for index, address, prefix in node.addresses()]
    return sorted({str(ipaddress.ip_network(f"{address}/{prefix}", strict=False)) for address, prefix in own})


def _keep(program: str, end: socket.socket) -> None:
    """Fork the first process of a pid namespace, a child of the launcher, and go."""
    try:
        signal.set_wakeup_fd(-1)
        namespaces.unshare(namespaces.NEWPID)
        if namespaces.fork_sibling() == 0:
            _first(program, end)
    finally:
        os._exit(0)


def _first(program: str, end: socket.socket) -> None:
    """Run the program in the network that the launcher sends, and tell it what was said should that end."""
    try:
        process.die_with_parent()
        process.set_title("inrush-usernet")
        netns = messages.receive(end).fds[0]
        process.close_descriptors({end.fileno(), netns})
        read, write = os.pipe()
        if os.fork() == 0:
            _become(program, netns, write)
        os.close(write)
        os.close(netns)
        said = b""
        while piece := os.read(read, LAST_WORDS_BYTES):
            said = (said + piece)[-LAST_WORDS_BYTES:]
        words = said.decode(errors="replace").strip().splitlines()
        messages.send(end, {"ended": words[-1] if words else "it ended"})
    finally:
        os._exit(0)  # and with the first process all of the namespace


def _become(program: str, netns: int, output: int) -> None:
    path = f"/proc/self/fd/{netns}"
    arguments = {
        "pasta": (*_PASTA, *_NOTHING_LISTENS, *_NOTHING_IS_TOLD, "--netns", path),
        "slirp4netns": (*_SLIRP, "--netns-type=path", path, "tap0"),
    }[program]
    try:
        for signum in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(signum, signal.SIG_DFL)
        os.set_inheritable(netns, True)
        null = os.open(os.devnull, os.O_RDWR)
        for target, fd in enumerate((null, output, output)):
            os.dup2(fd, target)
        found = shutil.which(program, path=_PATH)
        assert found is not None
        os.execve(found, arguments, {"PATH": _PATH})  # noqa: S606 (no shell is wanted)
    finally:
        os._exit(127)
