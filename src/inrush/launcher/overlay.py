"""Roots of containers: each is a detached overlay mount of layers and an upper directory.

Layers are stored with owners from the store's first id on, and mounted with owners shifted to the app's range
(idmapped); the clone of a layer is made once per app and kept. If the kernel cannot map them, the layer is copied once
per app with its owners changed (`trees.copy`). A container's upper directory is on a tmpfs of its own, which counts for
the container's memory and is freed with it; that of a build is a directory of the store, which is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import stat
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from inrush.launcher import beneath, trees
from inrush.launcher.features import Features
from inrush.launcher.mappings import Mappings
from inrush.launcher.places import Places, Refused
from inrush.launcher.specs import Bind, RootSpec
from inrush.linux import mounts, paths, roots

_KEPT_CLONES = 512

Options = list[tuple[str, "str | int | None"]]


@dataclass(slots=True)
class Root:
    """A root that a container can enter: its mount, its binds (mount, path inside, is a directory), and the mount of
    its upper directory."""

    fd: int
    binds: list[tuple[int, str, bool]]
    upper_fd: int = -1
    sealing_fd: int = -1
    """The mount of a build's root, kept so that its file system can be made read-only at the end; else -1."""
    forked_from: bool = False
    """Whether it is a template's: containers that are forked from a snapshot have its upper directory as a layer."""

    def entered(self) -> None:
        """Closes the mounts that the container has attached. Whoever closes the last mount of an upper directory waits
        until its memory is free, so that is left to the container, except for a template."""
        uppers = () if self.forked_from else (self.upper_fd,)
        for fd in (self.fd, *uppers, *(fd for fd, _, _ in self.binds)):
            if fd >= 0:
                os.close(fd)
        self.fd, self.binds = -1, []
        self.upper_fd = self.upper_fd if self.forked_from else -1

    def close(self) -> None:
        """Closes all of it."""
        self.entered()
        for fd in (self.upper_fd, self.sealing_fd):
            if fd >= 0:
                os.close(fd)
        self.upper_fd = self.sealing_fd = -1


class Overlays:
    """Makes roots. `staging` is a directory on a tmpfs that is mounted only in the launcher's mount namespace."""

    def __init__(
        self, places: Places, store_uid: int, staging: Path, shifted: Path, features: Features, rootless: bool
    ) -> None:
        self._places = places
        self._store_uid = store_uid
        self._mappings = Mappings(store_uid)
        self._staging = staging
        self._shifted = shifted
        self._features = features
        self._rootless = rootless
        self._clones: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._numbers = itertools.count(1)

    def missing(self, layers: tuple[str, ...], base: int) -> list[tuple[str, Path]]:
        """The layers that must be copied before `make`, with the paths of their copies; none if the kernel can
        idmap."""
        if self._mapped(base):
            return []
        return [(layer, copy) for layer in layers if not (copy := self.copy_of(layer, base)).exists()]

    def copy_of(self, layer: str, base: int) -> Path:
        """The path of the copy of a layer with owners from `base` on."""
        return self._shifted / str(base) / hashlib.sha256(layer.encode()).hexdigest()[:32]

    def copy(self, missing: list[tuple[str, Path]], base: int) -> None:
        """Copies layers. A copy appears at its path only when it is complete."""
        for layer, place in missing:
            place.parent.mkdir(parents=True, exist_ok=True)
            partial = place.with_name(f"{place.name}.{os.getpid()}")
            partial.mkdir()
            with _closing(self._places.directory(layer)) as source, _closing(_directory(partial)) as target:
                trees.copy(source, target, base, self._store_uid)
            try:
                partial.rename(place)
            except OSError:
                with _closing(_directory(place.parent)) as parent:
                    trees.remove(parent, partial.name)
                if not place.exists():
                    raise

    def remove_copies(self, layer: str) -> None:
        """Removes all copies of a layer that is being removed."""
        if self._shifted.is_dir():
            for place in self._shifted.iterdir():
                with _closing(_directory(place)) as parent:
                    trees.remove(parent, self.copy_of(layer, int(place.name)).name)

    def _mapped(self, base: int) -> bool:
        """Whether layers can be mounted from the store, mapped or as they are, so that no copy is needed."""
        return self._features.idmap or self._rootless or base == self._store_uid

    def make(self, spec: RootSpec, base: int, userns: int, below: int = -1) -> Root:
        """Makes a root for `spec`. `below` is the upper mount of another root, which becomes the top layer. Raises
        `OSError` that names the part that failed."""
        upper_fd, upper, work = self._upper(spec, base)
        opened = [upper, work]
        try:
            _write_etc(upper, spec, base)
            if self._features.overlay_fd:
                fds = [os.open("u", paths.DIRECTORY | os.O_CLOEXEC, dir_fd=below)] if below >= 0 else []
                opened += fds
                fds += [self._layer_fd(layer, base) for layer in spec.layers]
                fd = self._by_descriptors(fds, upper, work)
            else:
                fd = self._by_paths(spec, base, (upper, work), upper_fd, below)
            return Root(fd, self._binds(spec, base, fd), upper_fd, os.dup(fd) if spec.upper else -1)
        except OSError:
            if upper_fd >= 0:
                os.close(upper_fd)
            raise
        finally:
            for each in opened:
                os.close(each)

    def _upper(self, spec: RootSpec, base: int) -> tuple[int, int, int]:
        """Makes the upper and work directories of an overlay, in a new tmpfs or in the store. Returns the mount of the
        tmpfs, or -1, and the descriptors of both directories."""
        if spec.upper:
            with _closing(self._places.parent(spec.upper)) as (above, name):
                upper = _kept(above, name, base)
                try:
                    work = _kept(above, f"{name}.work", base)
                    with contextlib.suppress(FileNotFoundError), beneath.opened(work, ["work"]) as (inside,):
                        # The kernel refuses a second volatile mount while the mark of an earlier one exists.
                        trees.remove(inside, "incompat")
                except OSError:
                    os.close(upper)
                    raise
            return -1, upper, work
        size: Options = [("size", f"{spec.disk_mib}m")] if spec.disk_mib else []
        fd = mounts.detached("tmpfs", [("mode", "755"), *size], mounts.ATTR_NOSUID | mounts.ATTR_NODEV)
        return fd, beneath.directory(fd, "u", base), beneath.directory(fd, "w", base)

    def _by_descriptors(self, layers: list[int], upper: int, work: int) -> int:
        options: Options = [("lowerdir+", fd) for fd in layers]
        options += [("upperdir", upper), ("workdir", work), ("volatile", None)]
        if self._rootless:
            options.append(("userxattr", None))
        return mounts.detached("overlay", options, mounts.ATTR_NODEV)

    def _by_paths(self, spec: RootSpec, base: int, kept: tuple[int, int], upper_fd: int, below: int) -> int:
        """Makes the overlay on kernels whose overlayfs takes only paths. All parts are mounted below the staging
        directory, which gives them short paths."""
        place = self._staging / f"o{next(self._numbers)}"
        place.mkdir()
        parts: list[str] = []
        try:
            if below >= 0:
                parts.append(_attached(mounts.clone_of(below), place / "below") + "/u")
            for number, layer in enumerate(spec.layers):
                parts.append(_attached(mounts.clone_of(self._layer_fd(layer, base)), place / str(number)))
            upper, work = map(paths.by_descriptor, kept)
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

    def _layer_fd(self, layer: str, base: int) -> int:
        key = (layer, base)
        if key in self._clones:
            self._clones.move_to_end(key)
            return self._clones[key]
        opened = self._places.directory(layer) if self._mapped(base) else _directory(self.copy_of(layer, base))
        with _closing(opened):
            fd = mounts.clone_of(opened)
        mounts.set_attributes(fd, mounts.ATTR_RDONLY)
        self._map(fd, base)
        self._clones[key] = fd
        if len(self._clones) > _KEPT_CLONES:
            os.close(self._clones.popitem(last=False)[1])
        return fd

    def _map(self, fd: int, base: int) -> None:
        """Maps the owners of a mount of the store to the app's. If a file system does not support that, the mount is
        used as it is: its files then belong to nobody in the container, and those that everybody may read are
        readable."""
        if self._features.idmap and base != self._store_uid:
            with contextlib.suppress(OSError):
                mounts.set_attributes(fd, mounts.ATTR_IDMAP, self._mappings.get(base))

    def forget(self, below: str) -> None:
        """Closes the kept clones of layers at or below a path that is about to be removed."""
        for key in [k for k in self._clones if Path(k[0]).is_relative_to(below)]:
            os.close(self._clones.pop(key))

    def _binds(self, spec: RootSpec, base: int, root: int) -> list[tuple[int, str, bool]]:
        made: list[tuple[int, str, bool]] = []
        try:
            for bind in spec.binds:
                made.append(self._bind(bind, base))
        except OSError:
            for fd in (root, *(fd for fd, _, _ in made)):
                os.close(fd)
            raise
        return made

    def _bind(self, bind: Bind, base: int) -> tuple[int, str, bool]:
        """Makes the mount of a bind. Owners are mapped only for paths of the store, so that a file of the machine which
        only its owner may read stays unreadable in containers."""
        with _closing(self._places.source(bind)) as opened:
            fd = mounts.clone_of(opened)
            flags = mounts.ATTR_NOSUID | mounts.ATTR_NODEV | (mounts.ATTR_RDONLY if bind.readonly else 0)
            mounts.set_attributes(fd, flags)
            if self._places.in_store(bind.src):
                self._map(fd, base)
            return fd, bind.dst, stat.S_ISDIR(os.fstat(opened).st_mode)


Opened = TypeVar("Opened", int, tuple[int, str])


@contextlib.contextmanager
def _closing(opened: Opened) -> Iterator[Opened]:
    try:
        yield opened
    finally:
        os.close(opened if isinstance(opened, int) else opened[0])


def _kept(parent: int, name: str, base: int) -> int:
    try:
        return beneath.directory(parent, name, base)
    except NotADirectoryError:
        raise Refused(f"{name} is a link or a file, and a build needs a directory of that name") from None


def _directory(path: Path) -> int:
    return os.open(path, paths.DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


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


def _write_etc(top: int, spec: RootSpec, base: int) -> None:
    """Writes hostname, hosts and resolv.conf, which belong to the container and not to its image."""
    files = roots.host_files(spec.hostname) if spec.hostname else {}
    if spec.resolv:
        files["resolv.conf"] = resolv_conf()
    if not files:
        return
    beneath.write(top, "etc", files, base)


_UPSTREAM = "/run/systemd/resolve/resolv.conf"


def resolv_conf() -> str:
    """The content of resolv.conf for containers: the node's, or systemd-resolved's upstream one if the node's names a
    resolver on its loopback, which containers cannot reach."""
    for path in ("/etc/resolv.conf", _UPSTREAM):
        with contextlib.suppress(OSError):
            text = Path(path).read_text()
            if not loopback_resolver(text):
                return text
    return ""


def resolver_stamp() -> tuple[int, ...]:
    """The modification times of the files that `resolv_conf` reads."""
    stamps = []
    for path in ("/etc/resolv.conf", _UPSTREAM):
        with contextlib.suppress(OSError):
            stamps.append(os.stat(path).st_mtime_ns)
    return tuple(stamps)


def loopback_resolver(text: str) -> bool:
    """Whether a resolv.conf names a resolver that is reached over loopback."""
    servers = [line.split()[1] for line in text.splitlines() if line.startswith("nameserver") and len(line.split()) > 1]
    return any(s.startswith("127.") or s == "::1" for s in servers)
