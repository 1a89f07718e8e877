"""What every base image has to tell: its layers, its Python, and what its processes need in their environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from inrush.launcher.specs import Bind


@dataclass(frozen=True, slots=True)
class Base:
    """A base image that is there. `layers` are names in the layer store, top first."""

    layers: tuple[str, ...]
    python: str
    """Path of the interpreter in the image."""
    python_version: str
    """Such as "3.11"."""
    binds: tuple[Bind, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    release: str = ""
    """Debian's name of it; empty where apt cannot install, since `/usr` is the node's."""
