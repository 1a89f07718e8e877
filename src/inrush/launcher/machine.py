"""What a launcher has of its machine, and what each container holds of it: a group, a network, a root, given and
taken back here.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import secrets
import string
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inrush.launcher import features, overlay
from inrush.launcher.cgroups import Cgroups, Group, layout
from inrush.launcher.loop import Loop
from inrush.launcher.maker import NAMESPACES, Maker
from inrush.launcher.network import Net, Network
from inrush.launcher.overlay import Overlays, Root
from inrush.launcher.places import OWN, Places
from inrush.launcher.process import Given
from inrush.launcher.seals import Seals
from inrush.launcher.specs import FIRST_UID, Limits, RootSpec
from inrush.launcher.usernet import UserNetwork
from inrush.launcher.userns import UserNamespaces
from inrush.linux import landlock, messages, mounts, seccomp

_FIRST_RETRY_S, _LAST_RETRY_S = 0.01, 2.0
_LEAST_MIB, _LEAST_PIDS = 256, 256
"""What all containers together have at least, whatever is reserved."""
_SIGNS = string.digits + string.ascii_letters


def tag_of(state: Path) -> str:
    """What marks everything on the machine as belonging to one state directory.

    It comes from the path and from a mark in the directory: a copy of a directory is another one, and so is one that
    was removed and made again while its launcher still ran. Four signs are what a link's name has room for.
    """
    mark = state / OWN / "mark"
    if not mark.exists():
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(secrets.token_hex(16))
    number = int.from_bytes(hashlib.sha256(f"{state.resolve()} {mark.read_text()}".encode()).digest())
    return "".join(_SIGNS[number // len(_SIGNS) ** place % len(_SIGNS)] for place in range(4))


@dataclass(slots=True)
class Held:
    """What one container holds. `why` says what it did not get."""

    root: Root
    userns: int
    group: Group | None = None
    net: Net | None = None
    namespaces: list[int] = field(default_factory=list)
    """Where they were made ahead: those that the container joins, as in `maker.NAMESPACES`."""
    why: str = ""
    open: bool = False
    """Its processes have capabilities in their namespaces, which so serve nobody else."""

    def place(self) -> dict[str, int]:
        """By kind, the namespaces that the container must be in, where they are known before it is."""
        if self.namespaces:
            return dict(zip(NAMESPACES, self.namespaces, strict=True))
        return {"net": self.net.fd} if self.net else {}

    def entered(self) -> None:
        """The container is where it belongs: what led there is not needed any more."""
        self.root.entered()
        messages.close_all(self.namespaces)
        self.namespaces = []

    def joins(self) -> list[int]:
        """Descriptors by which a process moves itself into the groups; the caller closes them."""
        return self.group.open_joins() if self.group else []


class Machine:
    """One launcher's means. Built inside the launcher's own mount namespace."""

    def __init__(
        self, state: Path, tag: str, loop: Loop, rootless: bool, lost: str, given: Given, wayout: UserNetwork | str = ""
    ) -> None:
        """`wayout` is that of an ordinary user's launcher, or why there is none."""
        self.state = state.resolve()
        self.loop = loop
        self.rootless = rootless
        self.lost = lost
        self.tag = tag
        self.users = UserNamespaces(rootless)
        self.memory_mib = max(_LEAST_MIB, _memory_mib() - given.reserve_mib)
        self.pids = max(_LEAST_PIDS, _processes() - given.reserve_processes)
        self.filter_code = seccomp.program()
        self.template_filter_code = seccomp.program(allowed=seccomp.TEMPLATE)
        self.build_filter_code = seccomp.program(allowed=("chroot",))
        self.store_uid = 0 if rootless else given.store_uid
        self.places = Places(state, given.declared)
        own = self.state / OWN
        staging = own / "uppers"
        staging.mkdir(exist_ok=True)
        mounts.attach(mounts.detached("tmpfs", [("mode", "700"), ("size", "16m")]), str(staging))
        no_way_out, usernet = (wayout, None) if isinstance(wayout, str) else ("", wayout)
        self.features = features.find(str(staging), self.users.get(FIRST_UID), rootless, no_way_out)
        self.why = dict(self.features.why)
        self.cgroups = self._find_cgroups()
        self._makers: dict[int, Maker] = {}
        self._numbers = itertools.count(1)
        self.network = self._find_network(given.blocked, usernet)
        self.idlers: list[Callable[[], bool]] = []
        """What else there is to do when there is nothing to do."""
        self.seals = Seals(loop)
        self.overlays = Overlays(self.places, self.store_uid, staging, own / "shifted", self.features, rootless)

    def _find_network(self, blocked: Sequence[str], usernet: UserNetwork | None) -> Network | None:
        if not self.features.nat:
            return None
        network = Network(self.tag, self._maker, blocked, usernet)
        if usernet is not None:
            self.loop.watch(usernet.fileno(), network.addresses_changed)
            self.loop.watch(usernet.keeper.fileno(), lambda: self._cut_off(usernet))
        return network

    def _cut_off(self, usernet: UserNetwork) -> None:
        self.loop.unwatch(usernet.keeper.fileno())
        words = f"{usernet.program} has ended: {usernet.last_words()}; start the server anew"
        sys.stderr.write(f"inrush: containers have no way out any more: {words}\n")

    def _find_cgroups(self) -> Cgroups | None:
        if not self.features.cgroups:
            return None
        try:
            where = layout(Path("/proc/self/mountinfo").read_text())
            cgroups = Cgroups(where, f"inrush-{self.tag}", self.features.cgroup_kill)
            cgroups.bound(self.memory_mib, self.pids)
            return cgroups
        except OSError as error:
            self.why["cgroups"] = f"no limits and no accounting: {error}"
            return None

    def _maker(self, userns: int) -> Maker:
        maker = self._makers.get(userns)
        if maker is None or maker.ended:
            maker = self._makers[userns] = Maker(self.loop, userns)
        return maker

    def hold(
        self,
        name: str,
        root: RootSpec,
        limits: Limits,
        network: str,
        uid_base: int,
        below: int = -1,
    ) -> Held:
        """Give a container what it needs. Raises `OSError`, with nothing held, where a part cannot be had."""
        userns = self.users.get(uid_base)
        held = Held(self.overlays.make(root, self.users.base(uid_base), userns, below), userns)
        try:
            if self.cgroups:
                held.group = self.cgroups.make(name, limits, self.memory_mib)
            if network == "nat":
                self._connect(held, userns)
        except OSError:
            self.release(held)
            raise
        return held

    def prepare(
        self,
        root: RootSpec,
        limits: Limits,
        network: str,
        uid_base: int,
        below: int,
        done: Callable[[Held | None], None],
    ) -> None:
        """Begin to make what `hold` gives, and the namespaces with it, for a container that is not known yet; `done`
        gets it, or None where it could not be made. Raises `OSError` where it cannot even begin.
        """
        held = self.hold(f"ahead-{next(self._numbers)}", root, limits, network, uid_base, below)
        if network == "nat" and held.why:
            self.release(held)
            raise OSError(held.why)

        def made(fds: list[int], error: str) -> None:
            held.namespaces = fds
            if error:
                sys.stderr.write(f"inrush: no sandbox could be made ahead: {error}\n")
                self.release(held)
            done(None if error else held)

        net = held.net.fd if held.net else -1
        self._maker(held.userns).sandbox(held.root.fd, held.root.binds, net, root.disk_mib, made)
        held.root.entered()

    def let_go(self, uid_base: int) -> None:
        """The app has no template any more."""
        userns = self.users.get(uid_base)
        if self.network:
            self.network.drain(userns)
        if maker := self._makers.pop(userns, None):
            maker.close()

    def expect(self, uid_base: int) -> None:
        """Containers of this app will start soon: make networks ahead."""
        if self.network:
            self.network.expect(self.users.get(uid_base))

    def _connect(self, held: Held, userns: int) -> None:
        if self.network is None:
            held.why = f"no network: {self.why['nat']}"
            return
        try:
            held.net = self.network.take(userns)
        except OSError as error:
            held.why = f"no network: {error}"

    def release(self, held: Held) -> None:
        """Take everything back; the container's processes have ended, or are being killed."""
        held.entered()
        held.root.close()
        if held.net and self.network:
            self.network.give_back(held.userns, held.net, again=not held.open)
        if held.group:
            held.group.kill()
            self._remove(held.group, _FIRST_RETRY_S)

    def _remove(self, group: Group, again_s: float) -> None:
        if not group.remove():
            self.loop.later(again_s, lambda: self._remove(group, min(2 * again_s, _LAST_RETRY_S)))

    def idle(self) -> bool:
        """One piece of work for later; true while there may be more."""
        if any(idler() for idler in self.idlers):
            return True
        userns = self.network.wanting() if self.network else None
        if userns is None or self.network is None:
            return False
        with contextlib.suppress(OSError):
            self.network.refill(userns)
            return True
        self.network.drain(userns)
        return False

    def _notes(self) -> list[str]:
        mounted = Path("/proc/self/mountinfo").read_text()
        if self.cgroups and layout(mounted).pure and "favordynmods" not in mounted:
            return [
                "each start waits some 10 ms for the kernel to move a process into its control group; "
                "`mount -o remount,favordynmods /sys/fs/cgroup` ends that"
            ]
        return []

    def report(self) -> dict[str, Any]:
        """What this machine can do, for people."""
        resolver = Path("/etc/resolv.conf")
        text = resolver.read_text() if resolver.exists() else ""
        return {
            "kernel": os.uname().release,
            "rootless": self.rootless,
            "lost": self.lost,
            "notes": self._notes(),
            "features": {name: name not in self.why for name in features.NAMES},
            "why": self.why,
            "landlock": landlock.version(),
            "seccomp": bool(self.filter_code),
            "memory_mib": self.memory_mib,
            "resolver_on_loopback": overlay.loopback_resolver(text),
            "resolver": overlay.resolv_conf(),
        }


def _processes() -> int:
    """How many processes and threads the kernel has room for."""
    return min(int(Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("pid_max", "threads-max"))


def _memory_mib() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal"):
            return int(line.split()[1]) // 1024
    return 1024
