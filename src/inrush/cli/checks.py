"""What `inrush doctor` looks at: each check says what it found, and what to do where that is not enough.

`ok`: all there. `less`: it works, but something is lost, and `found` says what. `no`: containers cannot run.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from inrush import settings
from inrush.errors import Error

_OLDEST_KERNEL = (5, 15)
_DISK_FOR_AN_IMAGE_GIB = 5
_SYSTEM_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Check(NamedTuple):
    """One finding."""

    name: str
    verdict: str
    found: str
    advice: str = ""


def all_of_them() -> list[Check]:
    """Every check, in the order in which a container needs what it looks at."""
    checks: list[Callable[[], Check]] = [
        *(_system, _kernel, _privileges, _user_namespaces, _seccomp, _cgroups, _nft, _launcher, _bootstrap, _uv),
        *(_pythons, _gpus, _memory, _disk, _server),
    ]
    return [check() for check in checks]


def _system() -> Check:
    if platform.system() != "Linux":
        found = f"{platform.system()}: programs can call a server elsewhere, but no containers run here"
        return Check("system", "no", found, "set INRUSH_SERVER_URL to a server on Linux")
    if platform.machine() != "x86_64":
        return Check("system", "no", f"{platform.machine()}: containers run on x86_64 only")
    return Check("system", "ok", f"Linux, {platform.machine()}, {os.cpu_count()} cores")


def _kernel() -> Check:
    release = platform.release()
    numbers = tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in release.split(".")[:2])
    if numbers < _OLDEST_KERNEL:
        return Check("kernel", "no", f"{release} is older than 5.15", "upgrade the kernel")
    return Check("kernel", "ok", release)


def _privileges() -> Check:
    if os.geteuid() == 0:
        return Check("privileges", "ok", "root: the launcher keeps it, the server becomes a user of its own")
    if shutil.which("newuidmap"):
        return Check(
            "privileges", "less", "ordinary user: containers have no network, and no limits without cgroup delegation"
        )
    found = "ordinary user without newuidmap: all users of a container are one, and apt in images fails"
    return Check("privileges", "less", found, "apt-get install uidmap")


def _user_namespaces() -> Check:
    most = _read("/proc/sys/user/max_user_namespaces")
    if most in ("", "0"):
        return Check("user namespaces", "no", "switched off", "sysctl -w user.max_user_namespaces=10000")
    restricted = _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"
    if os.geteuid() != 0 and (restricted or _read("/proc/sys/kernel/unprivileged_userns_clone") == "0"):
        advice = "run the server as root, or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        return Check("user namespaces", "no", "refused to ordinary users on this machine", advice)
    return Check("user namespaces", "ok", f"up to {most}")


def _seccomp() -> Check:
    if "errno" not in _read("/proc/sys/kernel/seccomp/actions_avail").split():
        return Check("seccomp", "no", "this kernel has no seccomp filters", "use a kernel with CONFIG_SECCOMP_FILTER")
    return Check("seccomp", "ok", "filters can be set")


def _cgroups() -> Check:
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        kind, place = "v2", root
    elif (root / "memory").is_dir():
        kind, place = "v1 (hybrid)" if (root / "unified").is_dir() else "v1", root / "memory"
    else:
        return Check("cgroups", "less", "none: containers run without limits", "mount /sys/fs/cgroup")
    if not os.access(place, os.W_OK):
        advice = "run as root, or let systemd delegate: systemd-run --user --scope -p Delegate=yes inrush server"
        return Check("cgroups", "less", f"{kind}, not writable: no limits of cpu and memory", advice)
    return Check("cgroups", "ok", kind)


def _nft() -> Check:
    if shutil.which("nft", path=_SYSTEM_PATH):
        return Check("network", "ok", "nft, for outbound NAT")
    return Check("network", "less", "no nft: containers have only loopback", "apt-get install nftables")


def _launcher() -> Check:
    """A launcher of its own is started, and asked what it found by trying."""
    if platform.system() != "Linux":
        return Check("launcher", "no", "it runs on Linux only")
    try:
        told = asyncio.run(_ask_launcher())
    except (Error, OSError, TimeoutError) as error:
        return Check("launcher", "no", f"it does not start: {error}", "the lines above may tell why")
    lost = [*filter(None, [told["lost"]]), *(f"{name}: {why}" for name, why in told["why"].items()), *told["notes"]]
    if lost:
        return Check("launcher", "less", "; ".join(lost))
    return Check("launcher", "ok", f"has all it can use: {', '.join(told['features'])}")


async def _ask_launcher() -> dict[str, Any]:
    from inrush.launcher.client import Launcher
    from inrush.launcher.process import start_launcher

    with tempfile.TemporaryDirectory(prefix="inrush-") as state:
        launcher = Launcher(start_launcher(Path(state)), lambda exited: None)
        try:
            return await launcher.connect()
        finally:
            await launcher.close()


def _bootstrap() -> Check:
    tools = {"apt-get": "apt", "dpkg-deb": "dpkg", "tar": "tar", "xargs": "findutils"}
    missing = [package for name, package in tools.items() if not shutil.which(name, path=_SYSTEM_PATH)]
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        missing.append("debian-archive-keyring")
    if not missing:
        return Check("debian images", "ok", "apt and dpkg of this machine make them")
    advice = f"apt-get install {' '.join(missing)}"
    return Check("debian images", "less", "Image.debian_slim() cannot be built, Image.host() can", advice)


def _uv() -> Check:
    try:
        import uv

        path = uv.find_uv_bin()
    except (ImportError, FileNotFoundError) as error:
        return Check("uv", "less", f"pip steps of images cannot run: {error}", "pip install uv")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return Check("uv", "ok", said.stdout.strip() or path)


def _pythons() -> Check:
    found = [f"3.{minor}" for minor in range(11, 16) if shutil.which(f"python3.{minor}")]
    return Check("python", "ok", f"{platform.python_version()}; in PATH: {', '.join(found) or 'none by version'}")


def _gpus() -> Check:
    from inrush.agent.devices import gpus

    try:
        cards = gpus.inventory(settings.load()["gpus"].value)
    except Error as error:
        return Check("gpus", "no", str(error))
    if not cards:
        advice = "INRUSH_GPUS=A10G:8 declares what is not there, so that programs which ask for it run"
        return Check("gpus", "ok", "none, none declared", advice)
    kinds = {(card.type, card.declared) for card in cards}
    shown = [
        f"{sum((card.type, card.declared) == kind for card in cards)} × {kind[0]}{' (declared)' if kind[1] else ''}"
        for kind in sorted(kinds)
    ]
    return Check("gpus", "ok", ", ".join(shown))


def _memory() -> Check:
    fields = dict(line.split(":") for line in _read("/proc/meminfo").splitlines())
    total, free = (int(fields[name].split()[0]) // 1024 for name in ("MemTotal", "MemAvailable"))
    return Check("memory", "ok", f"{free} MiB free of {total}")


def _disk() -> Check:
    place = settings.home()
    while not place.exists():
        place = place.parent
    free_gib = shutil.disk_usage(place).free / 2**30
    found = f"{free_gib:.0f} GiB free for {settings.home()}"
    if free_gib < _DISK_FOR_AN_IMAGE_GIB:
        return Check(
            "disk", "less", found, "an image with PyTorch takes 2 to 6 GiB; INRUSH_HOME moves the state elsewhere"
        )
    return Check("disk", "ok", found)


def _server() -> Check:
    from inrush.cli import api

    try:
        status = api.get("/status")
    except Error as error:
        return Check("server", "ok", str(error))
    return Check("server", "ok", f"runs at {api.address().url}, version {status.get('version', '?')}")


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
