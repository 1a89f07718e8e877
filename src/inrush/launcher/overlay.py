"""Roots of containers: layers below, a fresh upper directory above, as one detached overlay mount.

Layers are stored with owners from 0 and mounted with owners shifted to the app's range (idmapped), each clone made
once per app and kept. Where the kernel cannot, the layer is copied once per app with its owners changed
(`trees.shift`). A container's upper directory is on a tmpfs of its own, which the container's memory pays for and
which vanishes with it; a build's is a directory that is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from inrush.launcher import beneath
from inrush.launcher.features import Features
from inrush.launcher.specs import Bind, RootSpec
from inrush.linux import mounts, roots

_KEPT_CLONES = 512

Options = list[tuple[str, "str | int | None"]]


@dataclass(slots=True)
class Root:
    """A root ready to be entered: its mount, its binds (mount, path inside, is a directory), its upper directory's
    own mount.
    """

    fd: int
    binds: list[tuple[int, str, bool]]
    upper_fd: int = -1
    sealing_fd: int = -1
    """Of a build: its mount, kept so that its file system can be made read-only at the end."""

    def entered(self) -> None:
        """The container has attached the mounts; only the upper's is still of use, to containers forked from it."""
        for fd in (self.fd, *(fd for fd, _, _ in self.binds)):
            if fd >= 0:
                os.close(fd)
        self.fd, self.binds = -1, []

    def close(self) -> None:
        """Let go of all of it."""
        self.entered()
        for fd in (self.upper_fd, self.sealing_fd):
            if fd >= 0:
                os.close(fd)
        self.upper_fd = self.sealing_fd = -1


class Overlays:
    """Makes roots. `staging` is a directory on a tmpfs that only the launcher's mount namespace has."""

    def __init__(self, staging: Path, shifted: Path, features: Features, rootless: bool) -> None:
        self._staging = staging
        self._shifted = shifted
        self._features = features
        self._rootless = rootless
        self._clones: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._numbers = itertools.count(1)

    def missing(self, layers: tuple[str, ...], base: int) -> list[tuple[str, Path]]:
        """Layers that must be copied first, with where to (only where idmapped mounts are missing)."""
        if self._features.idmap or self._rootless or base == 0:
            return []
        wanted = [(layer, self.copy_of(layer, base)) for layer in layers]
        return [(layer, copy) for layer, copy in wanted if copy and not copy.exists()]

    def copy_of(self, layer: str, base: int) -> Path | None:
        """Where the shifted copy of a layer belongs; None for a directory of the host itself, which is used as it
        is.
        """
        if not Path(layer).is_relative_to(self._shifted.parent):
            return None
        return self._shifted / str(base) / hashlib.sha256(layer.encode()).hexdigest()[:32]

    def make(self, spec: RootSpec, base: int, userns: int, below: int = -1) -> Root:
        """A root for `spec`. `below` is another root's upper mount, used as the top layer. Raises `OSError` naming
        the part that failed.
        """
        upper_fd, top = self._upper(spec, base)
        opened: list[int] = []
        try:
            _write_etc(top, spec, base)
            lowers = [f"/proc/self/fd/{below}/u"] if below >= 0 else []
            if self._features.overlay_fd:
                fds = [os.open(p, os.O_PATH | os.O_CLOEXEC) for p in lowers]
                opened += fds
                fds += [self._layer_fd(layer, base, userns) for layer in spec.layers]
                fd = self._by_descriptors(fds, top, spec, opened)
            else:
                fd = self._by_paths(spec, base, userns, upper_fd, below)
        except OSError:
            if upper_fd >= 0:
                os.close(upper_fd)
            raise
        finally:
            for each in opened:
                os.close(each)
        binds = [self._bind(bind, userns) for bind in spec.binds]
        return Root(fd, binds, upper_fd, os.dup(fd) if spec.upper else -1)

    def _upper(self, spec: RootSpec, base: int) -> tuple[int, str]:
        """(mount of a fresh tmpfs or -1, directory that holds `u` and `w`, or the upper itself when kept)."""
        if spec.upper:
            for path in (spec.upper, spec.upper + ".work"):
                os.makedirs(path, exist_ok=True)
                beneath.own(path, base, 0o755)
            # The mark of an earlier volatile mount, for which the kernel would refuse another.
            shutil.rmtree(spec.upper + ".work/work/incompat", ignore_errors=True)
            return -1, spec.upper
        size: Options = [("size", f"{spec.disk_mib}m")] if spec.disk_mib else []
        fd = mounts.detached("tmpfs", [("mode", "755"), *size], mounts.ATTR_NOSUID | mounts.ATTR_NODEV)
        for name in ("u", "w"):
            os.mkdir(name, 0o755, dir_fd=fd)
            os.chown(name, base, base, dir_fd=fd)
        return fd, f"/proc/self/fd/{fd}/u"

    def _by_descriptors(self, layers: list[int], top: str, spec: RootSpec, opened: list[int]) -> int:
        work = spec.upper + ".work" if spec.upper else top[:-1] + "w"
        upper_fd, work_fd = (os.open(p, os.O_PATH | os.O_CLOEXEC) for p in (top, work))
        opened += [upper_fd, work_fd]
        options: Options = [("lowerdir+", fd) for fd in layers]
        options += [("upperdir", upper_fd), ("workdir", work_fd), ("volatile", None)]
        if self._rootless:
            options.append(("userxattr", None))
        return mounts.detached("overlay", options, mounts.ATTR_NODEV)

    def _by_paths(self, spec: RootSpec, base: int, userns: int, upper_fd: int, below: int) -> int:
        """The same for kernels whose overlay takes only paths: all parts get short ones, below the staging
        directory.
        """
        place = self._staging / f"o{next(self._numbers)}"
        place.mkdir()
        parts: list[str] = []
        try:
            if below >= 0:
                parts.append(_attached(mounts.clone_of(below), place / "below") + "/u")
            for number, layer in enumerate(spec.layers):
                parts.append(_attached(mounts.clone_of(self._layer_fd(layer, base, userns)), place / str(number)))
            upper, work = spec.upper, spec.upper + ".work"
            if upper_fd >= 0:
                home = _attached(mounts.clone_of(upper_fd), place / "upper")
                upper, work = home + "/u", home + "/w"
            flags = ",volatile" + (",userxattr" if self._rootless else "")
            (place / "m").mkdir()
            data = f"lowerdir={':'.join(parts)},upperdir={upper},workdir={work}{flags}"
            mounts.mount("overlay", str(place / "m"), "overlay", mounts.NODEV, data)
            return mounts.clone_tree(str(place / "m"))
        finally:
            _dismantle(place)

    def _layer_fd(self, layer: str, base: int, userns: int) -> int:
        key = (layer, base)
        if key in self._clones:
            self._clones.move_to_end(key)
            return self._clones[key]
        copy = None if self._features.idmap or self._rootless or base == 0 else self.copy_of(layer, base)
        fd = mounts.clone_tree(str(copy or layer))
        mounts.set_attributes(fd, mounts.ATTR_RDONLY)
        if self._features.idmap and base:
            # A file system that cannot be idmapped still serves: its files then belong to nobody, and are readable.
            with contextlib.suppress(OSError):
                mounts.set_attributes(fd, mounts.ATTR_IDMAP, userns)
        self._clones[key] = fd
        if len(self._clones) > _KEPT_CLONES:
            os.close(self._clones.popitem(last=False)[1])
        return fd

    def forget(self, below: str) -> None:
        """Drop the kept clones of layers at or below a path, which is about to be removed."""
        for key in [k for k in self._clones if Path(k[0]).is_relative_to(below)]:
            os.close(self._clones.pop(key))

    def _bind(self, bind: Bind, userns: int) -> tuple[int, str, bool]:
        fd = mounts.clone_tree(bind.src, recursive=False)
        flags = mounts.ATTR_NOSUID | mounts.ATTR_NODEV | (mounts.ATTR_RDONLY if bind.readonly else 0)
        mounts.set_attributes(fd, flags)
        if self._features.idmap:
            with contextlib.suppress(OSError):
                mounts.set_attributes(fd, mounts.ATTR_IDMAP, userns)
        return fd, bind.dst, os.path.isdir(bind.src)


def _attached(mount_fd: int, path: Path) -> str:
    path.mkdir()
    mounts.attach(mount_fd, str(path))
    os.close(mount_fd)
    return str(path)


def _dismantle(place: Path) -> None:
    for entry in sorted(place.iterdir()):
        with contextlib.suppress(OSError):
            mounts.unmount(str(entry))
        entry.rmdir()
    place.rmdir()


def _write_etc(top: str, spec: RootSpec, base: int) -> None:
    """hostname, hosts and resolv.conf belong to the container, not to its image."""
    files = roots.host_files(spec.hostname) if spec.hostname else {}
    if spec.resolv:
        files["resolv.conf"] = resolv_conf()
    if not files:
        return
    beneath.write(top, "etc", files, base)


ETC_FILES = ("hostname", "hosts", "resolv.conf")
_UPSTREAM = "/run/systemd/resolve/resolv.conf"


def resolv_conf() -> str:
    """The node's, or, where that names a resolver on its loopback, which containers cannot reach, systemd-resolved's
    upstream one.
    """
    for path in ("/etc/resolv.conf", _UPSTREAM):
        with contextlib.suppress(OSError):
            text = Path(path).read_text()
            if not loopback_resolver(text):
                return text
    return ""


def resolver_stamp() -> tuple[int, ...]:
    """Changes when what `resolv_conf` reads does."""
    stamps = []
    for path in ("/etc/resolv.conf", _UPSTREAM):
        with contextlib.suppress(OSError):
            stamps.append(os.stat(path).st_mtime_ns)
    return tuple(stamps)


def loopback_resolver(text: str) -> bool:
    """Whether a resolv.conf names a resolver that is reached over loopback."""
    servers = [line.split()[1] for line in text.splitlines() if line.startswith("nameserver") and len(line.split()) > 1]
    return any(s.startswith("127.") or s == "::1" for s in servers)
