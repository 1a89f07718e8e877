"""What a real GPU needs inside a container: device nodes and driver libraries.

Where a Container Device Interface specification was generated on the node (`nvidia-ctk cdi generate`, JSON below
/etc/cdi or /var/run/cdi), it is followed: https://github.com/cncf-tags/container-device-interface. Otherwise the device
nodes of the plain driver are taken; then the image must bring the driver's libraries itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inrush.wire import Gpu

log = logging.getLogger(__name__)

SPEC_DIRS = (Path("/etc/cdi"), Path("/var/run/cdi"))
CONTROL_NODES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")
MAX_SPEC_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class DeviceEdits:
    """What is added to a container: device nodes, read-only binds (host path, container path), environment."""

    devices: tuple[str, ...] = ()
    binds: tuple[tuple[str, str], ...] = ()
    env: tuple[tuple[str, str], ...] = ()


def edits(gpus: Sequence[Gpu], spec_dirs: Iterable[Path] = SPEC_DIRS, dev: Path = Path("/dev")) -> DeviceEdits:
    """What containers that hold these cards need. Declared cards need nothing."""
    indexes = [gpu.index for gpu in gpus if not gpu.declared]
    if not indexes:
        return DeviceEdits()
    spec = _find(spec_dirs)
    return _from_spec(spec, indexes) if spec is not None else _from_driver(indexes, dev)


def declared(spec_dirs: Iterable[Path] = SPEC_DIRS, dev: Path = Path("/dev")) -> tuple[list[str], list[str]]:
    """Every device node and every host path that containers of any card of this node could need."""
    spec = _find(spec_dirs) or {}
    parts = [spec.get("containerEdits", {}), *(each.get("containerEdits", {}) for each in spec.get("devices", ()))]
    nodes = [node["path"] for part in parts for node in part.get("deviceNodes", ())]
    plain = [f"/dev/{path.relative_to(dev)}" for path in sorted(dev.glob("nvidia*")) if path.is_char_device()]
    sources = [mount["hostPath"] for part in parts for mount in part.get("mounts", ())]
    return list(dict.fromkeys([*nodes, *plain])), list(dict.fromkeys(sources))


def _find(spec_dirs: Iterable[Path]) -> dict[str, Any] | None:
    """The first readable specification of kind `nvidia.com/gpu`."""
    for path in (path for folder in spec_dirs for path in sorted(folder.glob("*.json"))):
        try:
            if path.stat().st_size > MAX_SPEC_BYTES:
                raise ValueError(f"larger than {MAX_SPEC_BYTES} bytes")
            spec = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            log.warning("%s is passed over: %s", path, error)
            continue
        if isinstance(spec, dict) and spec.get("kind") == "nvidia.com/gpu":
            return spec
    return None


def _from_spec(spec: dict[str, Any], indexes: Sequence[int]) -> DeviceEdits:
    by_name = {str(device["name"]): device.get("containerEdits", {}) for device in spec.get("devices", ())}
    parts = [spec.get("containerEdits", {}), *(by_name[str(index)] for index in indexes if str(index) in by_name)]
    nodes = [node["path"] for part in parts for node in part.get("deviceNodes", ())]
    mounts = [mount for part in parts for mount in part.get("mounts", ())]
    env = [entry.partition("=") for part in parts for entry in part.get("env", ())]
    return DeviceEdits(
        devices=tuple(dict.fromkeys(nodes)),
        binds=tuple(dict.fromkeys((mount["hostPath"], mount["containerPath"]) for mount in mounts)),
        env=tuple((name, value) for name, _, value in env if name != "NVIDIA_VISIBLE_DEVICES"),
    )


def _from_driver(indexes: Sequence[int], dev: Path) -> DeviceEdits:
    cards = [f"/dev/nvidia{index}" for index in indexes]
    control = [node for node in CONTROL_NODES if (dev / node.removeprefix("/dev/")).exists()]
    return DeviceEdits(devices=(*cards, *control))
