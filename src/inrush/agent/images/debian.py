"""The base `debian_slim`: a minimal Debian with Python, made from the packages of the node's mirror.

    apt-get, on the node   resolves and downloads, in directories of its own (without privileges, changing nothing)
    first container        on the node's own /usr: unpacks all packages into the new root
    second container       in the new root: dpkg unpacks them again by its own rules, and configures them

A fraction of what debootstrap takes, since packages are fetched at once, nothing is synced to disk, and documentation
and translations are left out. Nothing is run but what Debian's packages bring. Python is Debian's where the release has
the asked-for version, else one that uv fetches, also on the node.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inrush.agent.images import apt, node
from inrush.agent.images.base import Base
from inrush.agent.images.build import Builder, Command
from inrush.agent.images.once import Progress
from inrush.agent.images.pins import INSTALL, pinned
from inrush.core.images import layers
from inrush.errors import ImageBuildError
from inrush.launcher.specs import Bind

RELEASES = {"3.11": "bookworm", "3.13": "trixie"}
"""Which release of Debian has which Python."""

WAYS = (
    f"Image.debian_slim(python_version=…) has {' and '.join(RELEASES)} from Debian itself, and others where uv can "
    "fetch them (UV_PYTHON_INSTALL_MIRROR names another place); Image.host() has the server's own"
)

_NO_PACKAGES = "Debian's packages could not be downloaded (is the mirror in /etc/apt reachable?); apt-get said:"
_UV_RELEASE = "bookworm"
_PACKAGES = ("?essential", "apt", "ca-certificates", "usr-is-merged")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_FORMAT = "1"
"""Part of the base's digest: raised when the scripts below change what they make."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENV = {"PATH": _PATH, "HOME": "/root", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
_WORK = "/opt/inrush/build/debian"

_UNPACK = """
mkdir -p /target && cd /target
mkdir -p usr/bin usr/sbin usr/lib usr/lib64
for name in bin sbin lib lib64; do ln -s usr/$name $name; done
mkdir -p tmp var/tmp proc sys dev run root opt/inrush/lib opt/inrush/deps opt/inrush/python
ls DIR/debs/*.deb | xargs -P 4 -I{} sh -e -c \
    'dpkg-deb --fsys-tarfile "$1" | tar -xp --keep-directory-symlink -C /target' sh {}
chmod 1777 tmp var/tmp
"""

_CONFIGURE = """
cp /usr/share/base-passwd/passwd.master /etc/passwd
cp /usr/share/base-passwd/group.master /etc/group
mkdir -p /var/lib/dpkg/updates /var/lib/dpkg/info /var/lib/dpkg/triggers /etc/dpkg/dpkg.cfg.d
touch /var/lib/dpkg/status /var/lib/dpkg/available
ln -sf mawk /usr/bin/awk
cat > /etc/dpkg/dpkg.cfg.d/inrush <<'END'
force-unsafe-io
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/info/*
path-exclude=/usr/share/lintian/*
path-exclude=/usr/share/locale/*
path-include=/usr/share/locale/locale.alias
path-exclude=/usr/share/man/*
END
rm -rf /usr/share/doc /usr/share/info /usr/share/lintian /usr/share/locale /usr/share/man
for n in 1 2 3 4 5 6 7 8; do mkdir -p /usr/share/man/man$n; done
log=/tmp/dpkg.log
dpkg --unpack --force-depends DIR/debs/*.deb > $log 2>&1 || { cat $log; exit 1; }
dpkg --configure --force-depends base-passwd > $log 2>&1 || { cat $log; exit 1; }
dpkg --configure -a > $log 2>&1 || { cat $log; exit 1; }
cp DIR/sources.list /etc/apt/sources.list
rm -rf /etc/apt/sources.list.d/*
rm -rf /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/log/* /var/cache/ldconfig
"""

_PYTHON = """
rm -f /usr/lib/python3*/EXTERNALLY-MANAGED
ln -sf /usr/bin/python3 /usr/local/bin/python
"""

_UV_PYTHON = """
cp -r DIR/python/cpython-VERSION*/. /opt/inrush/python
rm -f /opt/inrush/python/lib/python3*/EXTERNALLY-MANAGED
for name in python python3 pythonVERSION; do ln -sf /opt/inrush/python/bin/pythonVERSION /usr/local/bin/$name; done
"""

_PIP = f"{INSTALL}install_pinned --python PYTHON --compile-bytecode\n"


@dataclass(frozen=True, slots=True)
class Means:
    """The means to make a base: a builder, a work directory, the base `host`, and the node's package settings."""

    builder: Builder
    work: Path
    host: Base
    host_layers: tuple[str, ...]
    settings: apt.AptSettings
    env: Mapping[str, str]
    binds: tuple[Bind, ...]


def digest(python: str) -> str:
    """The digest of the base with this version of Python."""
    return layers.base_digest("debian_slim", [_FORMAT, python, release(python), platform.machine(), pinned("pip")])


def release(python: str) -> str:
    """The release of Debian that a base with this version of Python is made from."""
    return RELEASES.get(python, _UV_RELEASE)


def base(layer: str, python: str) -> Base:
    """The base, given the name of its layer."""
    path = f"/usr/bin/python{python}" if python in RELEASES else f"/opt/inrush/python/bin/python{python}"
    return Base(layers=(layer,), python=path, python_version=python, env={"PATH": _PATH}, release=release(python))


async def make(python: str, layer: Path, uid_base: int, means: Means, progress: Progress) -> None:
    """Makes the layer of the base. Raises `ImageBuildError` if this version of Python is not available on the node."""
    work = means.work / f"debian-{python}"
    await asyncio.to_thread(shutil.rmtree, work, True)
    try:
        if python not in RELEASES:
            await _fetch_python(python, work / "python", progress)
        await _download(python, work, means.settings, progress)
        await _assemble(python, work, layer, uid_base, means, progress)
    finally:
        await asyncio.to_thread(shutil.rmtree, work, True)


async def _download(python: str, work: Path, settings: apt.AptSettings, progress: Progress) -> None:
    """Downloads all packages to `work`/debs."""
    for name in ("debs/partial", "lists/partial", "etc/preferences.d", "etc/apt.conf.d"):
        (work / name).mkdir(parents=True)
    name = release(python)
    (work / "status").touch()
    (work / "apt.conf").write_text(_conf(work, settings))
    (work / "etc/sources.list").write_text(settings.sources(name))
    (work / "sources.list").write_text(apt.sources(name))
    progress("step", f"download Debian {name}")
    packages = [*_PACKAGES, *(["python3"] if python in RELEASES else [])]
    await _apt_get(work, ["update"], progress)
    await _apt_get(work, ["--yes", "--download-only", "install", *packages], progress)


def _conf(work: Path, settings: apt.AptSettings) -> str:
    """The text of an apt.conf that takes from the node's own apt only how its mirror is reached."""
    places = {
        "Dir": work,
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work,
        "Dir::Cache::archives": work / "debs",
        "Dir::Etc": work / "etc",
        "Dir::Etc::sourcelist": work / "etc/sources.list",
        "APT::Architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "Debug::NoLocking": "1",
    }
    lines = [f'{name} "{value}";' for name, value in places.items()]
    sources = {bind.dst: bind.src for bind in settings.binds}
    for line in settings.conf:
        for inside, outside in sources.items():
            line = line.replace(inside, outside)
        lines.append(line)
    if settings.auth:
        (work / "etc/auth.conf").write_text(settings.auth)
    return "\n".join([*lines, *apt.OURS]) + "\n"


async def _apt_get(work: Path, arguments: Sequence[str], progress: Progress) -> None:
    environment = {**os.environ, "APT_CONFIG": str(work / "apt.conf"), "LC_ALL": "C"}
    try:
        status, said = await node.run(("apt-get", "--quiet=2", *arguments), environment, progress)
    except FileNotFoundError:
        raise ImageBuildError(
            "Image.debian_slim() is made with apt-get and dpkg, which this node does not have: install the packages "
            "apt, dpkg and debian-archive-keyring, or use Image.host(), which needs nothing"
        ) from None
    if status:
        raise ImageBuildError(
            "\n".join(
                [
                    "Debian's packages could not be downloaded (is the mirror in /etc/apt reachable?); apt-get said:",
                    *said,
                ]
            )
        )


async def _fetch_python(python: str, into: Path, progress: Progress) -> None:
    progress("step", f"download Python {python}")
    command = (node.uv(), "python", "install", "--no-bin", "--install-dir", str(into), python)
    environment = {**os.environ, "UV_CACHE_DIR": f"{into}-cache"}
    status, said = await node.run(command, environment, progress)
    if status:
        raise ImageBuildError(
            "\n".join([f"Python {python} cannot be had on this node. {WAYS}. uv tried to download it and said:", *said])
        )


async def _assemble(python: str, work: Path, layer: Path, uid_base: int, means: Means, progress: Progress) -> None:
    """Unpacks and configures the downloaded packages, and publishes the result as the layer."""
    upper = f"{layer}.upper"
    empty = Path(f"{layer}.empty")
    empty.mkdir()
    binds = (*means.binds, Bind(str(work), _WORK))
    env = {**_ENV, **means.env, "PINS": pinned("pip")}
    try:
        progress("step", f"unpack Debian {release(python)}")
        await means.builder.run(
            Command(
                _shell(_UNPACK), means.host_layers, uid_base, (*means.host.binds, *binds), {**env, **means.host.env}
            ),
            upper,
            progress,
        )
        progress("step", f"configure Debian {release(python)}, Python {python}")
        configure = Command(_shell(_script(python)), (str(empty),), uid_base, binds, env)
        await means.builder.layer(configure, layer, progress, upper=f"{upper}/target")
    finally:
        await asyncio.shield(means.builder.discard(upper, f"{upper}.work", str(empty)))


def _script(python: str) -> str:
    own = _PYTHON if python in RELEASES else _UV_PYTHON.replace("VERSION", python)
    return _CONFIGURE + own + _PIP.replace("PYTHON", base("", python).python)


def _shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-e", "-c", script.replace("DIR", _WORK))
