"""What the platform itself brings into a container: the `inrush` package, and msgspec and cloudpickle for its Python.

There is one layer per version of Python. It is made on a base image, never on a user's image, whose Python could write
anything into it, and its modules are compiled to bytecode there. For the server's own Python, msgspec and cloudpickle
are copied from where the server runs; for another Python, their wheels are installed by the hashes of `pins.txt`.
"""

from __future__ import annotations

import functools
import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

import cloudpickle
import msgspec

import inrush
from inrush.agent.images.base import Base
from inrush.agent.images.build import Builder, Command
from inrush.agent.images.host import VERSION
from inrush.agent.images.once import Progress
from inrush.agent.images.packages import BUILD
from inrush.agent.images.pins import INSTALL, pinned
from inrush.agent.images.workshop import Supplies
from inrush.core.images import layers
from inrush.launcher.specs import Bind

_PACKAGE = Path(inrush.__file__).parent
_NOT_IN_CONTAINERS = ("agent", "cli", "launcher", "pools", "server", "sim")
_DEPS = {"msgspec": Path(msgspec.__file__).parent, "cloudpickle": Path(cloudpickle.__file__).parent}
_SOURCE = f"{BUILD}/runtime"

_COPY = f"""
mkdir -p /opt/inrush/lib/inrush /opt/inrush/deps
cp -r {_SOURCE}/inrush/. /opt/inrush/lib/inrush
cd /opt/inrush/lib/inrush && rm -rf {" ".join(_NOT_IN_CONTAINERS)}
"""
_DEPS_AS_HERE = "".join(f"cp -r {_SOURCE}/{name} /opt/inrush/deps/{name}\n" for name in _DEPS)
_DEPS_BY_HASH = INSTALL + 'install_pinned --python "$1" --target /opt/inrush/deps\n'
_COMPILE = """
find /opt/inrush/lib /opt/inrush/deps -name __pycache__ -prune -exec rm -rf {} +
chmod -R a+rX /opt/inrush/lib /opt/inrush/deps
"$1" -m compileall -q --invalidation-mode unchecked-hash /opt/inrush/lib /opt/inrush/deps
"""


def sources() -> list[str]:
    """The directories of this machine that the runtime layer is made from."""
    return [str(path) for path in (_PACKAGE, *_DEPS.values())]


@functools.cache
def digest(python_version: str) -> str:
    """The digest of the runtime layer for this version of Python."""
    content = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*")):
        inside = path.relative_to(_PACKAGE)
        if inside.parts[0] in _NOT_IN_CONTAINERS or "__pycache__" in inside.parts or not path.is_file():
            continue
        content.update(f"{inside}\0{path.stat().st_size}\0".encode())
        content.update(path.read_bytes())
    needs = [f"{name}=={version(name)}" for name in _DEPS] if python_version == VERSION else [pinned(*_DEPS)]
    return layers.base_digest("runtime", [content.hexdigest(), python_version, platform.machine(), *needs])


async def make(
    base: Base,
    base_layers: tuple[str, ...],
    layer: Path,
    uid_base: int,
    builder: Builder,
    supplies: Supplies,
    progress: Progress,
) -> None:
    """Makes the runtime layer for the Python of `base`."""
    as_here = base.python_version == VERSION
    shown = [Bind(str(_PACKAGE), f"{_SOURCE}/inrush")]
    shown += [Bind(str(path), f"{_SOURCE}/{name}") for name, path in _DEPS.items()] if as_here else []
    script = _COPY + (_DEPS_AS_HERE if as_here else _DEPS_BY_HASH) + _COMPILE
    command = Command(
        argv=("/bin/sh", "-e", "-c", script, "sh", base.python),
        layers=base_layers,
        uid_base=uid_base,
        binds=(*base.binds, *supplies.binds, *shown),
        env={**supplies.env, **base.env, "PINS": pinned(*_DEPS)},
    )
    await builder.layer(command, layer, progress)
