"""Specs of functions, classes and apps, as a user declared them: code, resources, scale, retries, endpoints."""

from __future__ import annotations

from typing import Final

from inrush.wire.images import Recipe
from inrush.wire.resources import Resources
from inrush.wire.structs import Amount, Priority, Quantity, Struct


class ScalePolicy(Struct, frozen=True):
    """How many containers a function may have, and how many inputs each takes."""

    min_containers: Amount = 0
    max_containers: Amount | None = None
    buffer_containers: Amount = 0
    scaledown_window_s: Quantity = 60.0
    max_inputs: Amount = 1
    """The number of inputs that a container runs at once."""
    target_inputs: Amount | None = None
    """The number of inputs per container that scaling aims at; None means `max_inputs`."""
    single_use: bool = False
    """Whether a container is stopped after its first input."""


class Retries(Struct, frozen=True):
    """Retry policy. The n-th retry waits `min(initial_delay_s * backoff_coefficient ** (n - 1), max_delay_s)`."""

    max_retries: Amount = 0
    backoff_coefficient: Quantity = 2.0
    initial_delay_s: Quantity = 1.0
    max_delay_s: Quantity = 60.0


class Parameter(Struct, frozen=True):
    """One `inrush.parameter()` of a class. `type` is `str`, `int`, `bool` or `bytes`, or `any` for an argument of the
    class's own `__init__`."""

    name: str
    type: str
    required: bool = True


class Web(Struct, frozen=True):
    """How a function is served over HTTP. `kind` is `asgi` or `wsgi` (the function returns the app), or `fastapi` (the
    function is the handler)."""

    kind: str
    label: str = ""
    method: str = "GET"
    docs: bool = False


class FunctionSpec(Struct, frozen=True):
    """Everything that is needed to run one function, or one class with all its methods.

    `source` and `mounts` are digests of tar blobs, unpacked at `/` of the container, above the image. `module` is
    imported by that name with `/root` first on `sys.path`; where `pickled` is set (notebooks, `serialized=True`) it
    is the blob id of a cloudpickle of the function or class instead.
    """

    name: str
    """The name of the function or class, unique in its app."""
    module: str = ""
    qualname: str = ""
    pickled: str = ""
    is_class: bool = False
    methods: tuple[str, ...] = ()
    generators: tuple[str, ...] = ()
    """The methods that yield; `""` is a plain function."""
    parameters: tuple[Parameter, ...] = ()
    image: Recipe = Recipe()
    source: str = ""
    mounts: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    """Ids of Secrets, which the server resolves when a container starts. A later one overrides an earlier one."""
    resources: Resources = Resources()
    scale: ScalePolicy = ScalePolicy()
    retries: Retries = Retries()
    timeout_s: Quantity = 300.0
    startup_timeout_s: Quantity = 300.0
    snapshot: bool = False
    has_snap_hooks: bool = False
    block_network: bool = False
    restrict_access: bool = False
    """Whether the SDK is refused in its containers."""
    web: tuple[tuple[str, Web], ...] = ()
    """Endpoints, by method; `""` is a plain function."""
    cloud: str = ""
    region: tuple[str, ...] = ()
    nonpreemptible: bool = False
    priority: Priority = 0
    node_labels: tuple[tuple[str, str], ...] = ()
    """The labels that a node must have."""
    cluster_size: Amount = 0
    """Above 1, each input runs in so many containers at once, in all or none of them. The result of rank 0 counts."""


MAIN: Final = "main"
"""The environment of apps that name none."""


class AppSpec(Struct, frozen=True):
    """A whole app, as `run` and `deploy` send it. A deploy replaces all of the app at once."""

    name: str
    functions: tuple[FunctionSpec, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    environment: str = MAIN
    """The trust domain of the app's code. Apps of one environment may use one another; nothing crosses environments."""

    tag: str = ""
    """What its author calls this version."""


def app_key(environment: str, app: str) -> str:
    """The key of an app among the apps of all environments: `app` in `main`, else `environment/app`.

    Neither name may contain a slash, so no two apps share a key.
    """
    return app if environment == MAIN else f"{environment}/{app}"


def environment_name(key: str) -> str:
    """The name of an environment that nodes know by this key (`name.mark`, and `main`)."""
    return key.partition(".")[0]
