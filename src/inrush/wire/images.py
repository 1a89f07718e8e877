"""Recipes of images: a base and steps."""

from __future__ import annotations

from inrush.wire.structs import Struct


class Step(Struct, frozen=True):
    """One step of a recipe. `kind` is `from`, `pip`, `apt`, `run`, `function`, `copy`, `env` or `workdir`; `args` are
    its parameters in a fixed order; `files` are the local files that it reads, each as its path in the step and the
    digest of its content, which is a blob."""

    kind: str
    args: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    """Names (never values) of the environment variables that the step may read."""
    force: bool = False
    key: str = ""
    """An HMAC of the values of `secrets`, which the server computes when the image is built. It is part of the layer's
    digest, so other values never share the layer."""


class Recipe(Struct, frozen=True):
    """An image: its base and its steps, in order. `base` is `"host"` or `"debian_slim"`."""

    base: str = "host"
    python: str = ""
    """The minor version, such as "3.11"; empty for the node's own."""
    steps: tuple[Step, ...] = ()
