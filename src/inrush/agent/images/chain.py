"""An image as a chain of layers, which grows step by step while the image is built or looked up."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from inrush.agent.images.base import Base
from inrush.agent.images.layerstore import LayerStore
from inrush.core.images import layers
from inrush.launcher.specs import Bind
from inrush.wire import Step

_ENV = {"LANG": "C.UTF-8", "HOME": "/root"}


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image whose layers all exist. `layers` are directories of the node, top first; `python` is a path in it."""

    id: str
    layers: tuple[str, ...]
    binds: tuple[Bind, ...]
    env: Mapping[str, str]
    workdir: str
    python: str
    python_version: str
    base: Base


@dataclass(slots=True)
class Chain:
    """The layers of an image up to some step. `names` are the names of the layers, top first."""

    base: Base
    parent: str
    """The parent in the next step's digest: the name of the layer below, or the digest of a step that has no layer."""
    names: tuple[str, ...]
    steps: list[Step] = field(default_factory=list)

    @classmethod
    def on(cls, base: Base) -> Chain:
        """The chain that has only its base."""
        return cls(base, base.layers[0], base.layers)

    def advance(self, step: Step, found: str) -> None:
        """Adds a step to the chain. `found` is the name of its layer, or the step's digest if it has no layer."""
        self.steps.append(step)
        self.parent = found
        if layers.makes_layer(step):
            self.names = (found, *self.names)

    def env(self) -> dict[str, str]:
        """The environment variables of processes in the image."""
        return {**_ENV, **self.base.env, **layers.environment(self.steps)}

    def workdir(self) -> str:
        """The working directory of processes in the image."""
        return layers.workdir(self.steps)

    def image(self, store: LayerStore) -> BuiltImage:
        """The image made of all layers of the chain."""
        env, workdir = self.env(), self.workdir()
        seen = "\0".join([*self.names, workdir, *(f"{k}={v}" for k, v in sorted(env.items()))])
        return BuiltImage(
            id=f"im-{hashlib.sha256(seen.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}",
            layers=store.paths(self.names),
            binds=self.base.binds,
            env=env,
            workdir=workdir,
            python=self.base.python,
            python_version=self.base.python_version,
            base=self.base,
        )
