"""The launcher's resources on its machine, and what each container holds of them: a control group, a network and a
root, which are allocated and freed here."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import secrets
import string
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inrush.launcher import features, overlay, workers
from inrush.launcher.boot import Given
from inrush.launcher.cgroups import Cgroups, Group, layout
from inrush.launcher.door import Parts
from inrush.launcher.kept import Kept
from inrush.launcher.loop import Loop
from inrush.launcher.maker import Maker, empty
from inrush.launcher.network import Net, Network
from inrush.launcher.openings import Door, Opening, Turns
from inrush.launcher.overlay import Overlays, Root
from inrush.launcher.places import OWN, Places
from inrush.launcher.seals import Seals
from inrush.launcher.specs import FIRST_UID, Limits, RootSpec
from inrush.launcher.usernet import UserNetwork
from inrush.launcher.userns import UserNamespaces
from inrush.linux import landlock, messages, mounts, roots, seccomp

_FIRST_RETRY_S, _LAST_RETRY_S = 0.01, 2.0
_LEAST_MIB, _LEAST_PIDS = 256, 256
"""The least memory and processes that all containers together have, whatever is reserved."""
STARTING_CPU = 1.0
"""The share of the processor that a template has, and a container while it starts, so that starts are quick; a
container has its own share once it is ready."""
_SIGNS = string.digits + string.ascii_letters


_MARK = re.compile(rb"[0-9a-f]{32}")


def tag_of(state: Path) -> str:
    """The tag in the names of all groups, links and tables that belong to one state directory.

    It is a hash of the path and of a random mark in the directory, so a copy of a directory has another tag, and so has
    one that was removed and made again while its launcher still ran. Link names have room for four characters.
    """
    path = state / OWN / "mark"
    mark = path.read_bytes() if path.exists() else b""
    if not _MARK.fullmatch(mark):  # missing, or damaged: what bears the tag of an earlier one is swept by its janitors
        path.parent.mkdir(parents=True, exist_ok=True)
        mark = secrets.token_hex(16).encode()
        path.write_bytes(mark)
    number = int.from_bytes(hashlib.sha256(f"{state.resolve()} {mark.decode()}".encode()).digest())
    return "".join(_SIGNS[number // len(_SIGNS) ** place % len(_SIGNS)] for place in range(4))


@dataclass(slots=True)
class Held:
    """What one container holds. `why` says what it lacks of what was asked."""

    root: Root
    userns: int
    """The user namespace that owns its network."""
    group: Group | None = None
    net: Net | None = None
    door: Door | None = None
    """The door of its berth; None for a container that executes a program."""
    why: str = ""
    released: bool = False

    def joins(self) -> list[int]:
        """Descriptors through which a process moves itself into the groups; the caller closes them."""
        return self.group.open_joins() if self.group else []


class Machine:
    """The resources of one launcher. It must be made inside the launcher's own mount namespace."""

    def __init__(
        self, state: Path, tag: str, loop: Loop, rootless: bool, lost: str, given: Given, wayout: UserNetwork | str = ""
    ) -> None:
        """`wayout` is the network of an ordinary user's launcher, or the reason why it has none."""
        self.state = state.resolve()
        self.loop = loop
        self.rootless = rootless
        self.lost = lost
        self.tag = tag
        self.users = UserNamespaces(rootless)
        self.memory_mib = max(_LEAST_MIB, _memory_mib() - given.reserve_mib)
        self.kept = Kept(self.memory_mib)
        self.pids = max(_LEAST_PIDS, _processes() - given.reserve_processes)
        self.preferred = given.preferred
        self.filter_code = seccomp.program()
        self.template_filter_code = seccomp.program(template=True)
        self.build_filter_code = seccomp.program(build=True)
        self.store_uid = 0 if rootless else given.store_uid
        self.places = Places(state, given.declared)
        own = self.state / OWN
        staging = own / "uppers"
        staging.mkdir(exist_ok=True)
        mounts.attach(mounts.detached("tmpfs", [("mode", "700"), ("size", "16m")]), str(staging))
        no_way_out, usernet = (wayout, None) if isinstance(wayout, str) else ("", wayout)
        self._turns: dict[int, Turns] = {}
        """The berths that are being made for each app, by its first user id."""
        self._nets, self._berths = Maker(loop), Maker(loop)  # forked before the launcher receives anything that they
        # should not have
        self.beneath = empty()
        self.features = features.find(str(staging), self.users.get(FIRST_UID).app, rootless, no_way_out)
        self.why = dict(self.features.why)
        self.cgroups = self._find_cgroups()
        self._numbers = itertools.count(1)
        self.network = self._find_network(given.blocked, usernet)
        self.idlers: list[Callable[[], bool]] = []
        """Further work for idle time; each returns whether it may have more."""
        self.seals = Seals(loop)
        self.overlays = Overlays(self.places, self.store_uid, staging, own / "shifted", self.features, rootless)

    def _find_network(self, blocked: Sequence[str], usernet: UserNetwork | None) -> Network | None:
        if not self.features.nat:
            return None
        network = Network(self.tag, self._net_maker, blocked, usernet)
        self.loop.watch(network.watch.fileno(), network.table_changed)
        if usernet is not None:
            self.loop.watch(usernet.fileno(), network.addresses_changed)
            self.loop.watch(usernet.keeper.fileno(), lambda: self._cut_off(usernet))
        return network

    def _cut_off(self, usernet: UserNetwork) -> None:
        self.loop.unwatch(usernet.keeper.fileno())
        words = f"{usernet.program} has ended: {usernet.last_words()}; restart the server"
        sys.stderr.write(f"inrush: containers have no network any more: {words}\n")

    def _find_cgroups(self) -> Cgroups | None:
        if not self.features.cgroups:
            return None
        try:
            where = layout(Path("/proc/self/mountinfo").read_text())
            cgroups = Cgroups(where, f"inrush-{self.tag}", self.features.cgroup_kill)
            cgroups.bound(self.memory_mib, self.pids, self.preferred)
            return cgroups
        except OSError as error:
            self.why["cgroups"] = f"no limits and no accounting: {error}"
            return None

    def _net_maker(self) -> Maker:
        if self._nets.ended:
            self._nets = Maker(self.loop)
        return self._nets

    def _berth_maker(self) -> Maker:
        if self._berths.ended:
            self._berths = Maker(self.loop)
        return self._berths

    def hold(
        self,
        name: str,
        root: RootSpec,
        limits: Limits,
        network: str,
        uid_base: int,
        below: int = -1,
        template: bool = False,
        doors: int = 0,
    ) -> Held:
        """Allocates what a container, or a template, needs; `doors` is as in `Cgroups.make`. Raises `OSError`, and then
        holds nothing, if a part cannot be allocated."""
        users = self.users.get(uid_base)
        owner = users.app if template else users.owner
        held = Held(self.overlays.make(root, self.users.base(uid_base), users.app, below), owner)
        held.root.forked_from = template
        try:
            if self.cgroups:
                first = replace(limits, cpu_request=max(limits.cpu_request, STARTING_CPU)) if doors else limits
                held.group = self.cgroups.make(name, first, self.memory_mib, doors)
            if network == "nat":
                self._connect(held)
        except OSError:
            self.release(held)
            raise
        return held

    def ahead(self, root: RootSpec, limits: Limits, network: str, uid_base: int, below: int) -> Held:
        """Allocates what `hold` does, for a container that is not known yet. Raises `OSError` if anything is
        lacking."""
        held = self.hold(f"ahead-{next(self._numbers)}", root, limits, network, uid_base, below, doors=1)
        if network == "nat" and held.why:
            self.release(held)
            raise OSError(held.why)
        return held

    def open_berth(
        self,
        held: Held,
        pids: int,
        uid_base: int,
        tmp_mib: int | None,
        devices: tuple[str, ...],
        done: Callable[[str], None],
    ) -> None:
        """Makes a berth of what is held, into which processes of the pid namespace `pids` can be forked, when it is the
        app's turn. `done` is called with "" or with what went wrong. Raises `OSError` if it cannot begin."""
        users, kept = self.users.get(uid_base), os.dup(pids)
        turns = self._turns.setdefault(uid_base, Turns())

        def begin() -> None:
            try:
                if held.released:
                    raise OSError("its container was killed before it was made")
                self._order_berth(held, kept, uid_base, tmp_mib, devices, begun)
            except OSError as error:
                over(f"{error.strerror or error} {error.filename or ''}".strip())
            finally:
                os.close(kept)

        def begun(report: int, error: str) -> None:
            if error:
                over(error)
            else:
                Opening(self.loop, report, users.inner, made)

        def made(door: Door | None, error: str) -> None:
            if door and held.released:
                door.kill()
                door.close()
            elif door:
                held.door = door
            over(error)

        def over(error: str) -> None:
            self.loop.later(0, turns.end)
            done(error)

        turns.take(begin)

    def _order_berth(
        self,
        held: Held,
        pids: int,
        uid_base: int,
        tmp_mib: int | None,
        devices: tuple[str, ...],
        begun: Callable[[int, str], None],
    ) -> None:
        nodes = roots.take_nodes(roots.relative(devices))
        joins = held.joins()
        users = self.users.get(uid_base)
        parts = Parts(
            pids=pids,
            owner=users.owner,
            inner=users.inner,
            root=held.root.fd,
            net=held.net.fd if held.net else -1,
            binds=held.root.binds,
            devices=nodes,
            joins=joins,
            tmp_mib=tmp_mib,
            user=self.users.base(uid_base),
        )
        try:
            self._berth_maker().berth(parts, begun)
        finally:
            messages.close_all([*joins, *nodes.values()])
            held.root.entered()

    def let_go(self, uid_base: int) -> None:
        """Frees the networks kept for an app that has no template any more."""
        if self.network:
            users = self.users.get(uid_base)
            self.network.drain(users.owner)
            self.network.drain(users.app)

    def expect(self, uid_base: int) -> None:
        """Begins to make networks ahead for an app whose containers will start soon."""
        if self.network:
            self.network.expect(self.users.get(uid_base).owner)

    def _connect(self, held: Held) -> None:
        if self.network is None:
            held.why = f"no network: {self.why['nat']}"
            return
        try:
            held.net = self.network.take(held.userns)
        except OSError as error:
            held.why = f"no network: {error}"

    def release(self, held: Held) -> None:
        """Frees everything; the container's processes have ended, or are killed by this."""
        held.released = True
        self._close(held.root)
        if held.group:
            held.group.kill()
        door = held.door
        if door is None:
            self._left(held)
            return

        def ended() -> None:
            self.loop.unwatch(door.pidfd)
            door.close()
            self._left(held)

        held.door = None
        door.kill()
        self.loop.watch(door.pidfd, ended)

    def _close(self, root: Root) -> None:
        if not root.forked_from:
            root.close()
            return
        read, write = os.pipe2(os.O_CLOEXEC)

        def outlive() -> None:
            """The last to close the upper directory, whose memory takes its time to be freed."""
            os.close(write)
            os.read(read, 1)

        try:
            workers.work(self.loop, outlive, lambda wrong, said: None)
        finally:
            root.close()
            messages.close_all([read, write])

    def _left(self, held: Held) -> None:
        """Frees the network and the group, in which no process is left."""
        if held.net and self.network:
            self.network.give_back(held.userns, held.net, again=True)
        if held.group:
            held.group.kill()
            self._remove(held.group, _FIRST_RETRY_S)

    def _remove(self, group: Group, again_s: float) -> None:
        if not group.remove():
            group.kill()  # a template has descriptors by which its processes go there, as long as it is there
            self.loop.later(again_s, lambda: self._remove(group, min(2 * again_s, _LAST_RETRY_S)))

    def idle(self) -> bool:
        """Does one piece of work for idle time. Returns whether there may be more."""
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
        """What this machine can do, as `probe` returns it."""
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
    """The most processes and threads that the kernel allows."""
    return min(int(Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("pid_max", "threads-max"))


def _memory_mib() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal"):
            return int(line.split()[1]) // 1024
    return 1024
