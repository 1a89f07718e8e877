"""What an image is made from: a recipe, which is a base and steps."""

from __future__ import annotations

from inrush.wire.structs import Struct


class Step(Struct, frozen=True):
    """One step of a recipe. `kind` names it (`from`, `pip`, `apt`, `run`, `function`, `copy`, `env`, `workdir`),
    `args` are its parameters in a fixed order, `files` the content digests of local files it reads (blobs, by path in
    the step)."""

    kind: str
    args: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    """Names (never values) of the environment variables that the step may read."""
    force: bool = False
    key: str = ""
    """HMAC of the values of `secrets`, made by the server when the image is built: the step's layer is theirs alone."""


class Recipe(Struct, frozen=True):
    """An image: its base and its steps, in order. `base` is `"host"` or `"debian_slim"`."""

    base: str = "host"
    python: str = ""
    """Minor version, such as "3.11"; empty for the node's own."""
    steps: tuple[Step, ...] = ()
