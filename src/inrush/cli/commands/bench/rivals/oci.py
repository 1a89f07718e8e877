"""A container by an OCI runtime, made by `run` of a bundle: bare Python on the machine's own `/usr`.

The bundle is what `RUNTIME spec` writes (namespaces for pid, network, ipc, uts and mounts; some capabilities; neither
seccomp filter nor user namespace: less than a container of ours has), with the folders that Python needs bound in.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from inrush.cli.commands.bench.rivals.bare_python import STAMP, starts_of
from inrush.linux import mounts, namespaces

_BOUND = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt")

_SECOND_GROUPS = "/sys/fs/cgroup/unified"


def missing(runtime: str) -> str:
    """Not installed, or not usable here."""
    if not shutil.which(runtime):
        return f"not installed; `apt-get install {runtime}` brings it"
    return "" if os.geteuid() == 0 else "left out: without root it isolates less"


def version(runtime: str) -> str:
    told = subprocess.run([runtime, "--version"], check=True, capture_output=True, text=True).stdout
    return told.splitlines()[0].split()[-1]


def measure(runtime: str, quick: bool, folder: Path) -> Iterator[tuple[str, str, list[float]]]:
    """Starts one after the other, and as many at once as keeps all cores busy."""
    bundle, ids = make_bundle(runtime, folder), itertools.count()

    def command() -> list[str]:
        id = f"ib-{os.getpid()}-{next(ids)}"
        return [runtime, "--root", str(folder / "state"), "run", "--bundle", str(bundle), id]

    if subprocess.run(command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        _hide_second_groups()
    yield from starts_of(runtime, command, quick)


def _hide_second_groups() -> None:
    """Some of crun's versions refuse where both versions of control groups have controllers: they see the first."""
    if os.path.ismount(_SECOND_GROUPS):
        namespaces.unshare(namespaces.NEWNS)
        mounts.make_private()
        mounts.unmount(_SECOND_GROUPS)


def make_bundle(runtime: str, folder: Path) -> Path:
    """A folder with `config.json` and an empty root, into which everything is bound."""
    bundle = folder / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    subprocess.run([runtime, "spec"], cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    python = os.path.realpath(sys.executable)
    config["process"].update(terminal=False, args=[python, "-c", STAMP])
    places = dict.fromkeys([*filter(os.path.exists, _BOUND), *_outside(os.path.realpath(sys.base_prefix))])
    config["mounts"][:0] = [
        {"destination": place, "type": "none", "source": place, "options": ["rbind", "ro"]} for place in places
    ]
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle


def _outside(prefix: str) -> list[str]:
    """Python's own folder, where none of the others holds it."""
    return [] if any(prefix == place or prefix.startswith(f"{place}/") for place in _BOUND) else [prefix]
