"""What a user asked for: functions and classes, how they scale, are tried again and served, and the app they form."""

from __future__ import annotations

from typing import Final

from inrush.wire.images import Recipe
from inrush.wire.resources import Resources
from inrush.wire.structs import Struct


class ScalePolicy(Struct, frozen=True):
    """How many containers a function may have, and how many inputs each takes."""

    min_containers: int = 0
    max_containers: int | None = None
    buffer_containers: int = 0
    scaledown_window_s: float = 60.0
    max_inputs: int = 1
    """Inputs at once in one container."""
    target_inputs: int | None = None
    """What scaling aims at; None means `max_inputs`."""
    single_use: bool = False
    """A container is let go after its first input."""


class Retries(Struct, frozen=True):
    """The n-th retry waits `min(initial_delay_s * backoff_coefficient ** (n - 1), max_delay_s)`."""

    max_retries: int = 0
    backoff_coefficient: float = 2.0
    initial_delay_s: float = 1.0
    max_delay_s: float = 60.0


class Parameter(Struct, frozen=True):
    """One `inrush.parameter()` of a class. `type` is one of str, int, bool, bytes."""

    name: str
    type: str
    required: bool = True


class Web(Struct, frozen=True):
    """How a function is served over HTTP. `kind` is `asgi` (function returns an ASGI app), `wsgi`, or `fastapi`
    (function is the handler)."""

    kind: str
    label: str = ""
    method: str = "GET"
    docs: bool = False


class FunctionSpec(Struct, frozen=True):
    """Everything needed to run one function, or one class with all its methods.

    `source` and `mounts` are digests of tar blobs, unpacked at `/` of the container, above the image. `module` is
    imported by that name with `/root` first on `sys.path`; where `pickled` is set (notebooks, `serialized=True`) it
    is the blob id of a cloudpickle of the function or class instead.
    """

    name: str
    """Unique in its app: the function's name, or the class's."""
    module: str = ""
    qualname: str = ""
    pickled: str = ""
    is_class: bool = False
    methods: tuple[str, ...] = ()
    generators: tuple[str, ...] = ()
    """Methods (or `""` for a plain function) that yield."""
    parameters: tuple[Parameter, ...] = ()
    image: Recipe = Recipe()
    source: str = ""
    mounts: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    """Ids of Secrets, later wins; resolved by the server when a container starts."""
    resources: Resources = Resources()
    scale: ScalePolicy = ScalePolicy()
    retries: Retries = Retries()
    timeout_s: float = 300.0
    startup_timeout_s: float = 300.0
    snapshot: bool = False
    has_snap_hooks: bool = False
    block_network: bool = False
    restrict_access: bool = False
    """No SDK calls from inside."""
    web: tuple[tuple[str, Web], ...] = ()
    """Endpoints: method name (`""` for a plain function) and how it is served."""
    cloud: str = ""
    region: tuple[str, ...] = ()
    nonpreemptible: bool = False
    priority: int = 0
    node_labels: tuple[tuple[str, str], ...] = ()
    """Labels that a node must have."""
    cluster_size: int = 0
    """Above 1: each input runs in so many containers at once, all or none of them; the first one's result counts."""


MAIN: Final = "main"
"""The environment of everything that names none."""


class AppSpec(Struct, frozen=True):
    """What `run` and `deploy` send: an app whole, replaced atomically."""

    name: str
    functions: tuple[FunctionSpec, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    environment: str = MAIN
    """The trust domain of its code. Apps of one environment may use one another; nothing crosses environments."""


def app_key(environment: str, app: str) -> str:
    """What an app is known by where apps of several environments meet: `app`, or `environment/app` outside of `main`.

    Neither name may hold a slash, so no two apps share a key.
    """
    return app if environment == MAIN else f"{environment}/{app}"
