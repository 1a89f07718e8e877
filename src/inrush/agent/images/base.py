"""The description of a base image: its layers, its Python, and the environment that its processes need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from inrush.launcher.specs import Bind


@dataclass(frozen=True, slots=True)
class Base:
    """A base image that has been made. `layers` are names in the layer store, top first."""

    layers: tuple[str, ...]
    python: str
    """Path of the interpreter in the image."""
    python_version: str
    """Such as "3.11"."""
    binds: tuple[Bind, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    release: str = ""
    """Debian's name for the release. It is empty for `Image.host()`, whose `/usr` is the node's, so apt cannot install.
    """
