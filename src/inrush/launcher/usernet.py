"""The network of an ordinary user's launcher: a program that forwards packets as connections of that user.

    the node's network                          the launcher's own network namespace
    pasta or slirp4netns ══ eth0 or tap0 ══════ links of containers, the nft table, masquerading

An ordinary user cannot make links in the node's network, but may in a network namespace of a user namespace of its own.
The launcher moves into one, and there it makes the same links and the same table for containers as root's launcher
does. One such program serves all containers.

The program makes connections as a process of the node. Its options forbid it the node's loopback; the table forbids the
node's other addresses and the networks of its bridges, and is updated when these change.

The program runs in a pid namespace whose first process dies with the launcher, so that the kernel ends it however the
launcher ends.
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
"""How long the program may take to bring the network up."""
LAST_WORDS_BYTES = 4096
"""How much is kept of the program's last output."""

_NOTHING_LISTENS = ("--tcp-ports=none", "--udp-ports=none", "--tcp-ns=none", "--udp-ns=none")
_NOTHING_IS_TOLD = ("--no-dhcp", "--no-dhcpv6", "--no-ndp", "--no-ra")
_PASTA = ("pasta", "--foreground", "--quiet", "--ipv4-only", "--netns-only", "--config-net", "--no-map-gw")
_SLIRP = ("slirp4netns", "--configure", "--disable-host-loopback", "--disable-dns", "--mtu=65520", "--enable-seccomp")


@dataclass(slots=True)
class UserNetwork:
    """The network into which the launcher has moved. `taken` are the networks to which the node has routes."""

    program: str
    taken: list[str]
    keeper: socket.socket
    """Readable when the program has ended."""
    _node: links.Netlink
    _ways_out: list[str]

    def fileno(self) -> int:
        """The descriptor that is readable when addresses of the node have changed."""
        return self._node.fileno()

    def last_words(self) -> str:
        """The last line that the program printed before it ended."""
        return str((messages.receive(self.keeper).body or {}).get("ended", "it ended"))

    def forbidden(self) -> list[str]:
        """The present addresses of the node, and the networks of its bridges."""
        self._node.drain()
        return _forbidden(self._node, self._ways_out)


def enter() -> UserNetwork | str:
    """Moves this process, which must have capabilities in its user namespace, to a network namespace of its own, and
    starts the program for it. On failure it returns the reason; then the process has not moved, or has only
    loopback."""
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
    with contextlib.suppress(OSError):  # fails if the keeper has ended
        messages.send(keeper, {}, [own])
    os.close(own)
    os.waitpid(pid, 0)
    why = _wait(keeper)
    if why:
        return f"{program}: {why}"
    return UserNetwork(program, taken, keeper, node, out)


def _wait(keeper: socket.socket) -> str:
    """Waits for a default route. Returns "", or why there is none."""
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
        for path in Path("/sys/class/net").glob("*/bridge")  # sysfs shows the network namespace in which it was mounted
        if path.parent.name not in ways_out
    }
    own = [(address, prefix if index in bridges else 32) for index, address, prefix in node.addresses()]
    return sorted({str(ipaddress.ip_network(f"{address}/{prefix}", strict=False)) for address, prefix in own})


def _keep(program: str, end: socket.socket) -> None:
    """Forks the first process of a new pid namespace as a child of the launcher, and ends."""
    try:
        signal.set_wakeup_fd(-1)
        namespaces.unshare(namespaces.NEWPID)
        if namespaces.fork_sibling() == 0:
            _first(program, end)
    finally:
        os._exit(0)


def _first(program: str, end: socket.socket) -> None:
    """Runs the program in the network namespace that the launcher sends. When it ends, reports its last output."""
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
        os._exit(0)  # the kernel then kills all processes of the namespace


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
