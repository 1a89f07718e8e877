"""Turns what a program declares into the specs that the server takes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from inrush import by_value
from inrush.client._connection import Link
from inrush.client._marks import mark_of
from inrush.client._payload import put_missing
from inrush.client._source import pack_source, place
from inrush.client._steps import Definition
from inrush.client._tar import Blob
from inrush.client._types import Declared
from inrush.client.cls import Cls, members_of
from inrush.client.function import Function
from inrush.client.image import Image
from inrush.errors import InvalidError
from inrush.wire import FunctionSpec, Recipe


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


class Gathered(NamedTuple):
    """What a function or class is, but for what its image will be."""

    thing: Any
    image: Image
    code: Code
    secrets: tuple[str, ...]


async def gather(link: Link, thing: Any, app: Declared, environment: str = "") -> Gathered:
    """Packs and sends the code of a function or class, and finds its secrets. Raises `InvalidError` for code that
    cannot go, and `NotFoundError` for a secret that is not there."""
    options = thing.options
    included = app.include_source if options.include_source is None else options.include_source
    code = _code(thing, included)
    secrets = tuple([await secret.resolve(link, environment) for secret in (*app.secrets, *options.secrets)])
    await put_missing(link, [blob for blob in (code.source, code.pickled) if blob is not None])
    return Gathered(thing, options.image or app.image or Image.host(), code, secrets)


def spec(gathered: Gathered, built: Built) -> FunctionSpec:
    """The spec of a function, or of a class with all its methods. Raises `SerializationError` for code that is sent by
    value to another Python."""
    thing, _, code, secrets = gathered
    options = thing.options
    if code.pickled is not None and built.python:
        by_value.need_same(f"{thing.name} is sent by value", by_value.MINOR, built.python)
    if built.recipe == Recipe() and built.python not in ("", by_value.MINOR):
        warnings.warn(
            f"{thing.name} runs in Image.host(), whose Python is {built.python}, and this program under "
            f'{by_value.MINOR}; Image.debian_slim("{by_value.MINOR}") has the same',
            stacklevel=2,
        )
    return FunctionSpec(
        name=thing.name,
        module=code.module,
        qualname=code.qualname,
        pickled=code.pickled.id if code.pickled else "",
        source=code.source.id if code.source else "",
        image=built.recipe,
        mounts=built.mounts,
        env=options.env,
        secrets=secrets,
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
        **(_class_parts(thing) if isinstance(thing, Cls) else _function_parts(thing)),
    )


def _function_parts(function: Function[..., Any, Any]) -> dict[str, Any]:
    mark = function.mark
    return {"generators": ("",) if mark.is_generator else (), "web": (("", mark.web),) if mark.web else ()}


def _class_parts(cls: Cls) -> dict[str, Any]:
    assert cls.raw is not None
    return {
        "is_class": True,
        "methods": tuple(cls.methods),
        "generators": tuple(name for name, mark in cls.methods.items() if mark.is_generator),
        "parameters": cls.wire_parameters(),
        "has_snap_hooks": any(mark_of(member).snap for member in members_of(cls.raw).values()),
        "web": tuple((name, mark.web) for name, mark in cls.methods.items() if mark.web),
    }


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
    try:
        return Blob(by_value.dumps(raw))
    except Exception as error:
        raise InvalidError(f"{name} cannot be pickled: {error}; make what it refers to inside of it") from error


class Defined(NamedTuple):
    """An image as its program describes it, with the ids of its secrets."""

    definition: Definition
    secrets: tuple[str, ...]


async def define(link: Link, image: Image, environment: str = "") -> Defined:
    """Reads an image's local files, sends them, and finds the secrets of its steps."""
    definition = image.definition()
    secrets = tuple([await secret.resolve(link, environment) for secret in definition.secrets])
    await put_missing(link, definition.blobs)
    return Defined(definition, secrets)


async def build(link: Link, defined: Defined, app: str, force: bool, progress: Any, environment: str = "") -> Built:
    """Has the server build what is missing of an image. Raises `ImageBuildError`."""
    from inrush.wire import BuildImage

    recipe = defined.definition.recipe
    mounts = tuple(blob.id for blob in defined.definition.mounts)
    if recipe == Recipe():
        return Built(recipe, mounts, link.python)
    answer = await link.ask(BuildImage(recipe, app, defined.secrets, force, environment), progress)
    return Built(_keyed(recipe, answer["keys"]), mounts, str(answer.get("python", "")))


def _keyed(recipe: Recipe, keys: Sequence[str]) -> Recipe:
    """The recipe with what the server says of its steps' secrets: containers start from the layers of these values."""
    import msgspec

    keyed = [msgspec.structs.replace(step, key=key) for step, key in zip(recipe.steps, keys, strict=True)]
    return msgspec.structs.replace(recipe, steps=tuple(keyed))
