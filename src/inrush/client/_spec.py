"""Turns what a program declares into the specs that the server takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from inrush.client._connection import Link
from inrush.client._marks import mark_of
from inrush.client._payload import put_missing
from inrush.client._source import pack_source, place
from inrush.client._tar import Blob
from inrush.client.cls import Cls, members_of
from inrush.client.function import Function
from inrush.client.image import MINOR, Image
from inrush.client.secret import Secret
from inrush.errors import InvalidError
from inrush.wire import FunctionSpec, Recipe, Web


class Built(NamedTuple):
    """An image that the server has: its recipe, what is laid over it, and its Python."""

    recipe: Recipe
    mounts: tuple[str, ...]
    python: str


class Code(NamedTuple):
    """How a container gets the code: by importing it from a source tar, or by unpickling it."""

    module: str = ""
    qualname: str = ""
    source: Blob | None = None
    pickled: Blob | None = None


def places(thing: Any) -> FunctionSpec:
    """The part of a spec that says where a function or class can run."""
    options = thing.options
    return FunctionSpec(
        name=thing.name,
        resources=options.resources,
        cloud=options.cloud,
        region=options.region,
        node_labels=options.node_labels,
        cluster_size=options.cluster_size,
    )


async def function_spec(
    link: Link,
    function: Function[..., Any, Any],
    built: Built,
    secrets: Iterable[Secret],
    include: bool,
    environment: str = "",
) -> FunctionSpec:
    """The spec of a function; `include` is the app's `include_source`."""
    mark = function.mark
    return await _spec(
        link,
        function,
        built,
        secrets,
        include,
        environment,
        generators=("",) if mark.is_generator else (),
        web=(("", mark.web),) if mark.web else (),
    )


async def class_spec(
    link: Link, cls: Cls, built: Built, secrets: Iterable[Secret], include: bool, environment: str = ""
) -> FunctionSpec:
    """The spec of a class with all its methods."""
    assert cls.raw is not None
    web: list[tuple[str, Web]] = [(name, mark.web) for name, mark in cls.methods.items() if mark.web]
    return await _spec(
        link,
        cls,
        built,
        secrets,
        include,
        environment,
        is_class=True,
        methods=tuple(cls.methods),
        generators=tuple(name for name, mark in cls.methods.items() if mark.is_generator),
        parameters=cls.wire_parameters(),
        has_snap_hooks=any(mark_of(member).snap for member in members_of(cls.raw).values()),
        web=tuple(web),
    )


async def _spec(
    link: Link, thing: Any, built: Built, secrets: Iterable[Secret], include: bool, environment: str, **more: Any
) -> FunctionSpec:
    options = thing.options
    included = include if options.include_source is None else options.include_source
    code = _code(thing, included)
    if code.pickled is not None and built.python not in ("", MINOR):
        raise InvalidError(
            f"{thing.name} is sent pickled, which only the same Python can read: "
            f"here is {MINOR}, its image has {built.python}; "
            f'use Image.debian_slim(python_version="{MINOR}"), or put the code into a file'
        )
    await put_missing(link, [blob for blob in (code.source, code.pickled) if blob is not None])
    return FunctionSpec(
        name=thing.name,
        module=code.module,
        qualname=code.qualname,
        pickled=code.pickled.id if code.pickled else "",
        source=code.source.id if code.source else "",
        image=built.recipe,
        mounts=built.mounts,
        env=options.env,
        secrets=tuple([await secret.resolve(link, environment) for secret in (*secrets, *options.secrets)]),
        resources=options.resources,
        scale=options.scale,
        retries=options.retries,
        timeout_s=options.timeout_s,
        startup_timeout_s=options.startup_timeout_s,
        snapshot=options.snapshot,
        block_network=options.block_network,
        restrict_access=options.restrict_access,
        cloud=options.cloud,
        region=options.region,
        nonpreemptible=options.nonpreemptible,
        priority=options.priority,
        node_labels=options.node_labels,
        cluster_size=options.cluster_size,
        **more,
    )


def _code(thing: Any, include_source: bool) -> Code:
    raw = thing.raw
    where = place(raw)
    if thing.options.serialized or not where.module:
        return Code(pickled=_pickled(thing.name, raw))
    if "<locals>" in raw.__qualname__:
        raise InvalidError(
            f"{thing.name} is defined inside a function, where a container cannot import it; "
            f"move it to the top of {where.file}, or say serialized=True"
        )
    return Code(where.module, raw.__qualname__, pack_source(where) if include_source else None)


def _pickled(name: str, raw: Any) -> Blob:
    import cloudpickle

    try:
        return Blob(cloudpickle.dumps(raw, protocol=5))
    except Exception as error:
        raise InvalidError(f"{name} cannot be pickled: {error}; make what it refers to inside of it") from error


async def build(link: Link, image: Image, app: str, force: bool, progress: Any, environment: str = "") -> Built:
    """Has the server build what is missing of an image. Raises `ImageBuildError`."""
    from inrush.wire import BuildImage

    definition = image.definition()
    await put_missing(link, definition.blobs)
    mounts = tuple(blob.id for blob in definition.mounts)
    if definition.recipe == Recipe():
        return Built(definition.recipe, mounts, "")
    secrets = tuple([await secret.resolve(link, environment) for secret in definition.secrets])
    answer = await link.ask(BuildImage(definition.recipe, app, secrets, force, environment), progress)
    return Built(_keyed(definition.recipe, answer["keys"]), mounts, str(answer.get("python", "")))


def _keyed(recipe: Recipe, keys: Sequence[str]) -> Recipe:
    """The recipe with what the server says of its steps' secrets: containers start from the layers of these values."""
    import msgspec

    keyed = [msgspec.structs.replace(step, key=key) for step, key in zip(recipe.steps, keys, strict=True)]
    return msgspec.structs.replace(recipe, steps=tuple(keyed))
