"""The parameters of `@app.function` and `@app.cls`: their types, their checks, and what older names of them mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from inrush import wire
from inrush.client import _resources
from inrush.client.retries import Retries, to_wire
from inrush.errors import InvalidError, UnimplementedError

if TYPE_CHECKING:
    from inrush.client._marks import Mark
    from inrush.client.image import Image
    from inrush.client.secret import Secret

DAY_S = 24 * 3600.0
DEFAULT_TIMEOUT_S = 300.0


class FunctionOptions(TypedDict, total=False):
    """Parameters that `@app.function` and `@app.cls` share. `App.function` explains each."""

    image: Image | None
    env: Mapping[str, str | None] | None
    secrets: Collection[Secret] | None
    gpu: _resources.Gpu
    serialized: bool
    volumes: Mapping[Any, Any]
    network_file_systems: Mapping[Any, Any]
    cpu: float | tuple[float, float] | None
    memory: int | tuple[int, int] | None
    ephemeral_disk: int | None
    min_containers: int | None
    max_containers: int | None
    buffer_containers: int | None
    scaledown_window: float | None
    proxy: Any
    retries: int | Retries | None
    timeout: float
    startup_timeout: float | None
    cloud: str | None
    region: str | Sequence[str] | None
    routing_region: str | None
    nonpreemptible: bool
    enable_memory_snapshot: bool
    block_network: bool
    restrict_access: bool
    restrict_modal_access: bool
    single_use_containers: bool
    i6pn: bool | None
    include_source: bool | None
    experimental_options: Mapping[str, Any] | None
    _experimental_restrict_output: bool
    priority: int
    node_labels: Mapping[str, str] | None
    max_inputs: int | None
    keep_warm: int | None
    concurrency_limit: int | None
    container_idle_timeout: float | None
    allow_concurrent_inputs: int | None


class Options(NamedTuple):
    """The same, checked. `image`, `secrets` and `include_source` of None mean: the app's."""

    image: Image | None
    secrets: tuple[Secret, ...]
    env: tuple[tuple[str, str], ...]
    resources: wire.Resources
    scale: wire.ScalePolicy
    retries: wire.Retries
    timeout_s: float
    startup_timeout_s: float
    snapshot: bool
    block_network: bool
    restrict_access: bool
    cloud: str
    region: tuple[str, ...]
    nonpreemptible: bool
    priority: int
    node_labels: tuple[tuple[str, str], ...]
    cluster_size: int
    serialized: bool
    include_source: bool | None


_NOT_BUILT = {
    "volumes": "put files into the image (Image.add_local_dir, Image.run_function), or share values by a Dict",
    "network_file_systems": "put files into the image (Image.add_local_dir), or share values by a Dict",
    "proxy": "route outbound traffic on the node",
    "schedule": "call `inrush run` or FunctionCall from cron, or spawn from a loop of your own",
    "routing_region": "there is one server, and calls enter there",
    "i6pn": "containers have outbound network only",
    "experimental_options": "none of them exists here",
    "_experimental_restrict_output": "results are plain payloads",
}
"""Known parameters that do nothing yet, and what to do instead: refused when given a value."""


def parse(where: str, options: Mapping[str, Any], mark: Mark) -> Options:
    """Checks all parameters of a function or class; `where` names it in errors."""
    _known(where, options)
    get = options.get
    timeout_s = _seconds(where, "timeout", get("timeout", DEFAULT_TIMEOUT_S))
    startup = get("startup_timeout")
    return Options(
        image=_instance(where, "image", get("image"), "Image"),
        secrets=_secrets(where, get("secrets")),
        env=environment(where, get("env")),
        resources=_named(where, get),
        scale=_scale(where, options, mark),
        retries=to_wire(get("retries")),
        timeout_s=timeout_s,
        startup_timeout_s=timeout_s if startup is None else _seconds(where, "startup_timeout", startup),
        snapshot=bool(get("enable_memory_snapshot")),
        block_network=bool(get("block_network")),
        restrict_access=bool(get("restrict_access") or get("restrict_modal_access")),
        cloud=get("cloud") or "",
        region=_regions(get("region")),
        nonpreemptible=bool(get("nonpreemptible")),
        priority=_priority(where, get("priority")),
        node_labels=tuple(sorted((get("node_labels") or {}).items())),
        cluster_size=_cluster_size(where, options, mark),
        serialized=bool(get("serialized")),
        include_source=get("include_source"),
    )


def _named(where: str, get: Any) -> wire.Resources:
    try:
        return _resources.resources(get("gpu"), get("cpu"), get("memory"), get("ephemeral_disk"))
    except (InvalidError, UnimplementedError) as error:
        raise type(error)(f"{where}: {error}") from None


def _known(where: str, options: Mapping[str, Any]) -> None:
    known = [*FunctionOptions.__annotations__, "schedule", "name", "is_generator"]
    for name, value in options.items():
        if name in _NOT_BUILT and value:
            raise UnimplementedError(f"{where}: {name}= is not built yet; {_NOT_BUILT[name]}")
        if name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InvalidError(f"{where}: there is no parameter {name}{hint}")


def _scale(where: str, options: Mapping[str, Any], mark: Mark) -> wire.ScalePolicy:
    minimum = _count(where, options, "min_containers", "keep_warm", least=0)
    maximum = _count(where, options, "max_containers", least=1)
    window = _either(where, options, "scaledown_window", "container_idle_timeout")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise InvalidError(f"{where}: min_containers ({minimum}) is above max_containers ({maximum})")
    single = options.get("max_inputs")
    if single is not None and single != 1:
        raise InvalidError(
            f"{where}: for {single!r} inputs at once decorate it with @inrush.concurrent(max_inputs={single!r})"
        )
    max_inputs, target = _inputs(where, options, mark)
    defaults = wire.ScalePolicy()
    return wire.ScalePolicy(
        min_containers=minimum or 0,
        max_containers=maximum,
        buffer_containers=_count(where, options, "buffer_containers", least=0) or 0,
        scaledown_window_s=defaults.scaledown_window_s
        if window is None
        else _seconds(where, "scaledown_window", window, 0.0),
        max_inputs=max_inputs,
        target_inputs=target,
        single_use=bool(options.get("single_use_containers")) or single == 1,
    )


def _inputs(where: str, options: Mapping[str, Any], mark: Mark) -> tuple[int, int | None]:
    """Inputs at once in one container: by the decorator, or by one of the older parameters."""
    given = _count(where, options, "concurrency_limit", "allow_concurrent_inputs", least=1)
    if given is not None and mark.max_inputs is not None:
        raise InvalidError(
            f"{where}: say how many inputs run at once either by @concurrent or by concurrency_limit, not by both"
        )
    return given or mark.max_inputs or 1, mark.target_inputs


def _priority(where: str, value: Any) -> int:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise InvalidError(f"{where}: priority is a whole number, higher goes first, not {value!r}")
    return value or 0


def _cluster_size(where: str, options: Mapping[str, Any], mark: Mark) -> int:
    """Containers that run each input together; they take one input at a time."""
    if mark.cluster_size and _inputs(where, options, mark)[0] > 1:
        raise InvalidError(f"{where}: containers of @clustered take one input at a time; leave out @concurrent")
    return mark.cluster_size


def _count(where: str, options: Mapping[str, Any], name: str, older: str = "", least: int = 0) -> int | None:
    value = _either(where, options, name, older)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidError(f"{where}: {name} is a whole number of at least {least}, not {value!r}")
    return value


def _either(where: str, options: Mapping[str, Any], name: str, older: str) -> Any:
    new, old = options.get(name), options.get(older)
    if new is not None and old is not None:
        raise InvalidError(f"{where}: {older} is an older name of {name}; give one of them")
    return old if new is None else new


def _seconds(where: str, name: str, value: Any, least: float = 0.001) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= DAY_S:
        raise InvalidError(f"{where}: {name} is in seconds, above 0 and up to 24 h, not {value!r}")
    return float(value)


def _regions(region: str | Sequence[str] | None) -> tuple[str, ...]:
    return (region,) if isinstance(region, str) else tuple(region or ())


def _instance(where: str, name: str, value: Any, kind: str) -> Any:
    if value is not None and type(value).__name__ != kind:
        raise InvalidError(f"{where}: {name} takes inrush.{kind}, not {value!r}")
    return value


def _secrets(where: str, given: Any) -> tuple[Any, ...]:
    if type(given).__name__ == "Secret":
        raise InvalidError(f"{where}: secrets takes a list of inrush.Secret: write secrets=[…]")
    return tuple(_instance(where, "secrets", one, "Secret") for one in given or ())


def environment(where: str, env: Mapping[str, str | None] | None) -> tuple[tuple[str, str], ...]:
    """Variables as sorted pairs; those that are None are left out."""
    for key, value in (env or {}).items():
        if not isinstance(key, str) or not (value is None or isinstance(value, str)):
            raise InvalidError(f"{where}: env maps names to strings, not {key!r} to {value!r}")
    return tuple(sorted((key, value) for key, value in (env or {}).items() if value is not None))
