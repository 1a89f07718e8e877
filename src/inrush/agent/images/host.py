"""The base `host`: the node's own `/usr` and the server's interpreter, both read-only. Nothing has to be built.

A small layer is generated once: directories, links into `/usr`, an `/etc` of its own, and a virtual environment whose
home is the interpreter, bound at `/opt/inrush/python`. So packages of the node are not importable, and packages that an
image adds have a place to go.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
from pathlib import Path

from inrush.agent.images.base import Base
from inrush.core.images import layers
from inrush.launcher.specs import Bind

PYTHON = "/opt/inrush/python"
VENV = "/opt/inrush/venv"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

_FORMAT = "2"
"""Part of the base's digest. It is raised when the files generated here, or what the layer store keeps, change."""

_DIRECTORIES = (
    "dev etc home mnt opt proc root run srv sys tmp usr var var/cache var/lib var/log var/tmp "
    "opt/inrush opt/inrush/python opt/inrush/lib opt/inrush/deps "
    f"opt/inrush/venv opt/inrush/venv/bin opt/inrush/venv/lib opt/inrush/venv/lib/python{VERSION} "
    f"opt/inrush/venv/lib/python{VERSION}/site-packages"
).split()
_MODES = {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}
_LINKS = {"var/run": "../run", "var/lock": "../run/lock", "etc/mtab": "../proc/self/mounts"}
SHARED_ETC = ("/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted", "/etc/alternatives")
"""Parts of the node's `/etc` that programs in its `/usr` need."""

_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/hostname": "localhost\n",
    "etc/resolv.conf": "",
    "opt/inrush/venv/pyvenv.cfg": (
        f"home = {PYTHON}/bin\ninclude-system-site-packages = false\nversion = {platform.python_version()}\n"
    ),
}


def facts() -> list[str]:
    """The facts by which the base of one node differs from that of another."""
    soabi = str(sysconfig.get_config_var("SOABI"))
    return [_FORMAT, sys.version, sys.base_prefix, soabi, platform.machine(), _os_release()]


def digest() -> str:
    """The digest of this node's base."""
    return layers.base_digest("host", facts())


def base(layer: str) -> Base:
    """The base, given the name of its generated layer."""
    shared = [Bind(path, path) for path in SHARED_ETC if Path(path).is_dir()]
    env = {"PATH": f"{VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and sys.base_prefix != "/usr":
        env["LD_LIBRARY_PATH"] = f"{PYTHON}/lib"  # the interpreter was linked for the node's path
    return Base(
        layers=(layer,),
        python=f"{VENV}/bin/python{VERSION}",
        python_version=VERSION,
        binds=(Bind("/usr", "/usr"), Bind(sys.base_prefix, PYTHON), *shared),
        env=env,
    )


def generate(into: Path) -> None:
    """Writes the base's layer to `into`."""
    into.mkdir()
    into.chmod(0o755)
    for name in _DIRECTORIES:
        (into / name).mkdir()
        (into / name).chmod(_MODES.get(name, 0o755))
    for path in SHARED_ETC:
        if Path(path).is_dir():
            (into / path[1:]).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if (Path("/usr") / name).exists():
            (into / name).symlink_to(f"usr/{name}")
    for name, target in _LINKS.items():
        (into / name).symlink_to(target)
    for name, text in _FILES.items():
        (into / name).write_text(text)
        (into / name).chmod(0o644)
    _copy_etc(into)
    _make_venv(into / VENV[1:])


def _copy_etc(into: Path) -> None:
    """Copies files of the node's `/etc`: those that the dynamic loader and libc read, and `os-release`."""
    for name in ("ld.so.cache", "os-release", "localtime", "ssl/openssl.cnf", "services", "protocols", "mime.types"):
        source = Path("/etc") / name
        if source.is_file() and os.access(source, os.R_OK):
            (into / "etc" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, into / "etc" / name)
            (into / "etc" / name).chmod(0o644)


def _make_venv(venv: Path) -> None:
    (venv / "bin" / f"python{VERSION}").symlink_to(f"{PYTHON}/bin/python{VERSION}")
    for name in ("python3", "python"):
        (venv / "bin" / name).symlink_to(f"python{VERSION}")
    (venv / "lib64").symlink_to("lib")


def _os_release() -> str:
    try:
        found = platform.freedesktop_os_release()
    except OSError:
        return ""
    return f"{found.get('ID', '')} {found.get('VERSION_ID', '')}"
