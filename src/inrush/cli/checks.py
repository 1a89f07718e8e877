"""What `inrush doctor` looks at: each check says what it found, and what to do where that is not enough.

`ok`: all there. `less`: it works, but something is lost, and `found` says what. `no`: containers cannot run.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from inrush import settings
from inrush.cli import trials
from inrush.errors import Error

_OLDEST_KERNEL = (5, 15)
_DISK_FOR_AN_IMAGE_GIB = 5
_SYSTEM_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


_APPARMOR = (
    "as root, let this Python make them: "
    "printf 'abi <abi/4.0>,\\nprofile inrush {python} flags=(unconfined) {{ userns, }}\\n' > /etc/apparmor.d/inrush && "
    "apparmor_parser -r /etc/apparmor.d/inrush; or let all: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
)
_USERNET = "apt-get install passt (or slirp4netns); /dev/net/tun must be open to all users (chmod 666 /dev/net/tun)"

Told = dict[str, Any] | str
"""What a launcher found, or why none starts."""


class Check(NamedTuple):
    """The finding of one check."""

    name: str
    verdict: str
    found: str
    advice: str = ""


def all_of_them() -> list[Check]:
    """Every check, in the order in which a container needs what it looks at."""
    first: list[Callable[[], Check]] = [_system, _kernel]
    tried: list[Callable[[], Check]] = [_privileges, _user_namespaces, _overlay, _seccomp]
    asked: list[Callable[[Told], Check]] = [_cgroups, _idmap, _network, _launcher]
    rest: list[Callable[[], Check]] = [_bootstrap, _uv, _pythons, _gpus, _memory, _disk, _server]
    if platform.system() != "Linux":
        return [check() for check in first]
    before = [check() for check in (*first, *tried)]
    told = _told()
    return [*before, *(check(told) for check in asked), *(check() for check in rest)]


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
    if lost := trials.tried(trials.many_ids):
        advice = "apt-get install uidmap; usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER"
        return Check("privileges", "less", f"ordinary user with one user id: {lost}", advice)
    return Check("privileges", "ok", "ordinary user, with a range of user ids by newuidmap")


def _user_namespaces() -> Check:
    return user_namespaces(trials.tried(trials.user_namespace), os.geteuid() == 0)


def user_namespaces(refusal: str, root: bool, tree: Path = Path("/")) -> Check:
    """The finding, from what making one ended with and from the settings in `tree`."""
    kernel = tree / "proc/sys/kernel"
    most = _read(tree / "proc/sys/user/max_user_namespaces")
    if not refusal:
        return Check("user namespaces", "ok", f"one was made, with a mount in it; up to {most or 'any number'}")
    if most == "0":
        return Check("user namespaces", "no", "switched off", "sysctl -w user.max_user_namespaces=10000")
    if not root and _read(kernel / "apparmor_restrict_unprivileged_userns") == "1":
        found = (
            f"AppArmor gives ordinary users' namespaces no rights ({refusal}), as Ubuntu has it since 23.10 by "
            "kernel.apparmor_restrict_unprivileged_userns=1"
        )
        return Check("user namespaces", "no", found, _APPARMOR.format(python=os.path.realpath(sys.executable)))
    if not root and _read(kernel / "unprivileged_userns_clone") == "0":
        found = f"refused to ordinary users ({refusal}) by kernel.unprivileged_userns_clone=0"
        return Check("user namespaces", "no", found, "sysctl -w kernel.unprivileged_userns_clone=1")
    advice = (
        "in a container: run it with its seccomp and AppArmor profiles off, or run the server on the machine itself"
    )
    return Check("user namespaces", "no", f"none could be made: {refusal}", advice)


def _overlay() -> Check:
    if refusal := trials.tried(trials.overlay):
        advice = "a kernel with overlayfs, from 5.11 on where the server is no root's (modprobe overlay)"
        return Check("overlay", "no", f"none could be mounted: {refusal}", advice)
    return Check("overlay", "ok", "one was mounted")


def _seccomp() -> Check:
    if refusal := trials.tried(trials.seccomp):
        return Check("seccomp", "no", refusal, "use a kernel with CONFIG_SECCOMP_FILTER")
    return Check("seccomp", "ok", "the filter of containers was set")


def _cgroups(told: Told) -> Check:
    if isinstance(told, str) or not (why := told["why"].get("cgroups")):
        kind = "v2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "v1"
        known = not isinstance(told, str)
        return Check("cgroups", "ok" if known else "less", f"{kind}{', groups were made' if known else ', not tried'}")
    advice = "run as root, or let systemd delegate: systemd-run --user --scope -p Delegate=yes inrush server"
    return Check("cgroups", "less", why, advice)


def _idmap(told: Told) -> Check:
    if isinstance(told, str):
        return Check("idmapped mounts", "less", "not tried, since the launcher does not start")
    if told["rootless"]:
        return Check("idmapped mounts", "ok", "not needed: layers belong to the user already")
    if why := told["why"].get("idmap"):
        return Check("idmapped mounts", "less", f"{why}: layers are copied once for each app", "Linux 5.19 or newer")
    return Check("idmapped mounts", "ok", "one was made")


def _network(told: Told) -> Check:
    if not shutil.which("nft", path=_SYSTEM_PATH):
        return Check("network", "less", "no nft: containers have only loopback", "apt-get install nftables")
    if refusal := trials.tried(trials.network):
        advice = "a kernel with nftables (fib, nat) and veth; in a container: --cap-add NET_ADMIN"
        return Check("network", "less", f"containers have only loopback: {refusal}", advice)
    if not isinstance(told, str) and (why := told["why"].get("nat")):
        return Check("network", "less", f"containers have only loopback: {why}", _USERNET if told["rootless"] else "")
    return Check("network", "ok", "links and the nft table were made")


def _launcher(told: Told) -> Check:
    if isinstance(told, str):
        return Check("launcher", "no", f"it does not start: {told}", "the lines above may tell why")
    lost = [*filter(None, [told["lost"]]), *(f"{name}: {why}" for name, why in told["why"].items()), *told["notes"]]
    if lost:
        return Check("launcher", "less", "; ".join(lost))
    return Check("launcher", "ok", f"has all it can use: {', '.join(told['features'])}")


def _told() -> Told:
    """What a launcher of its own, started for this, has found by trying; or why none starts."""
    try:
        return asyncio.run(_ask_launcher())
    except (Error, OSError, TimeoutError) as error:
        return str(error)


async def _ask_launcher() -> dict[str, Any]:
    from inrush.launcher.boot import start_launcher
    from inrush.launcher.client import Launcher

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


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
