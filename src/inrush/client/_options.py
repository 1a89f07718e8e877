"""The parameters of `@app.function` and `@app.cls`: their types, their checks, and what older names of them mean."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from inrush import wire
from inrush.client import _checks, _resources
from inrush.client.retries import Retries, to_wire
from inrush.errors import InvalidError, UnimplementedError

if TYPE_CHECKING:
    from inrush.client._marks import Mark
    from inrush.client.image import Image
    from inrush.client.secret import Secret

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
    """The checked options of a function or class. `image`, `secrets` and `include_source` are None where the app's are
    used."""

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
    flags = {name: _checks.flag(f"{where}: {name}", get(name)) for name in _FLAGS}
    timeout_s = _checks.seconds(f"{where}: timeout", get("timeout", DEFAULT_TIMEOUT_S))
    startup = get("startup_timeout")
    return Options(
        image=_instance(where, "image", get("image"), "Image"),
        secrets=_secrets(where, get("secrets")),
        env=tuple(sorted(_checks.environment(f"{where}: env", get("env")).items())),
        resources=_named(where, get),
        scale=_scale(where, options, mark),
        retries=_retries(where, get("retries")),
        timeout_s=timeout_s,
        startup_timeout_s=timeout_s if startup is None else _checks.seconds(f"{where}: startup_timeout", startup),
        snapshot=flags["enable_memory_snapshot"],
        block_network=flags["block_network"],
        restrict_access=flags["restrict_access"] or flags["restrict_modal_access"],
        cloud=_checks.name(f"{where}: cloud", get("cloud")) if get("cloud") is not None else "",
        region=_regions(where, get("region")),
        nonpreemptible=flags["nonpreemptible"],
        priority=_priority(where, get("priority")),
        node_labels=tuple(sorted(_checks.strings(f"{where}: node_labels", get("node_labels")).items())),
        cluster_size=_cluster_size(where, options, mark),
        serialized=flags["serialized"],
        include_source=get("include_source"),
    )


def warn_of_no_snapshot(where: str, options: Options, stacklevel: int) -> None:
    """Warns where a snapshot was asked for of a function that is sent by value, which has none."""
    if options.snapshot and options.serialized:
        warnings.warn(
            f"{where}: enable_memory_snapshot does nothing for what is sent by value (serialized=True): "
            "move it to a file, where a container can import it",
            stacklevel=stacklevel + 1,
        )


_FLAGS = (
    *("enable_memory_snapshot", "block_network", "restrict_access", "restrict_modal_access", "nonpreemptible"),
    *("serialized", "include_source"),
)


def _retries(where: str, value: Any) -> wire.Retries:
    try:
        return to_wire(value)
    except InvalidError as error:
        raise InvalidError(f"{where}: {error}") from None


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
        else _checks.seconds(f"{where}: scaledown_window", window, 0.0),
        max_inputs=max_inputs,
        target_inputs=target,
        single_use=_checks.flag(f"{where}: single_use_containers", options.get("single_use_containers")) or single == 1,
    )


def _inputs(where: str, options: Mapping[str, Any], mark: Mark) -> tuple[int, int | None]:
    """Inputs at once in one container, by the decorator or by one of the older parameters."""
    given = _count(where, options, "concurrency_limit", "allow_concurrent_inputs", least=1)
    if given is not None and mark.max_inputs is not None:
        raise InvalidError(
            f"{where}: say how many inputs run at once either by @concurrent or by concurrency_limit, not by both"
        )
    return given or mark.max_inputs or 1, mark.target_inputs


def _priority(where: str, value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _checks.COUNT_MAX:
        raise InvalidError(f"{where}: priority is a whole number, higher goes first, not {value!r}")
    return value


def _cluster_size(where: str, options: Mapping[str, Any], mark: Mark) -> int:
    """Containers that run each input together. They take one input at a time."""
    if mark.cluster_size and _inputs(where, options, mark)[0] > 1:
        raise InvalidError(f"{where}: containers of @clustered take one input at a time; leave out @concurrent")
    return mark.cluster_size


def _count(where: str, options: Mapping[str, Any], name: str, older: str = "", least: int = 0) -> int | None:
    value = _either(where, options, name, older)
    return None if value is None else _checks.count(f"{where}: {name}", value, least)


def _either(where: str, options: Mapping[str, Any], name: str, older: str) -> Any:
    new, old = options.get(name), options.get(older)
    if new is not None and old is not None:
        raise InvalidError(f"{where}: {older} is an older name of {name}; give one of them")
    return old if new is None else new


def _regions(where: str, region: str | Sequence[str] | None) -> tuple[str, ...]:
    named = [region] if isinstance(region, str) else region or ()
    if not isinstance(named, Sequence) or not all(isinstance(one, str) and one for one in named):
        raise InvalidError(f"{where}: region is a name, or a list of names, not {region!r}")
    return tuple(named)


def _instance(where: str, name: str, value: Any, kind: str) -> Any:
    if value is not None and type(value).__name__ != kind:
        raise InvalidError(f"{where}: {name} takes inrush.{kind}, not {value!r}")
    return value


def _secrets(where: str, given: Any) -> tuple[Any, ...]:
    if type(given).__name__ == "Secret":
        raise InvalidError(f"{where}: secrets takes a list of inrush.Secret: write secrets=[…]")
    if given is not None and not isinstance(given, Collection):
        raise InvalidError(f"{where}: secrets takes a list of inrush.Secret, not {given!r}")
    return tuple(_instance(where, "secrets", one, "Secret") for one in given or ())
