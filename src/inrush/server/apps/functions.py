"""All functions: those of running apps, and the variants of classes, one for each set of parameters.

A function keeps its id over a redeploy if its containers can serve the new version. For a function that a deploy
replaced its successor is remembered, so that a caller with the old id reaches the new code.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import msgspec

from inrush.core.model.events import FunctionAdded
from inrush.errors import InvalidError, NotFoundError, ResourceExhaustedError
from inrush.server.trust.principal import Principal
from inrush.wire import MAIN, FunctionSpec, ScalePolicy, app_key

MAX_VARIANTS = 10_000
"""The most parameter sets of one class."""
MAX_HOPS = 1000
"""The most deploys over which an old id leads to its successor."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(FunctionSpec).decode


class Function:
    """A function, or a variant of a class, which is the class with one set of parameters.

    `parameters` is the canonical JSON object of a variant, and empty for a plain function.
    """

    __slots__ = (
        "app",
        "app_name",
        "base",
        "bounds",
        "decided",
        "durable",
        "environment",
        "id",
        "impossible",
        "name",
        "notes",
        "parameters",
        "queued",
        "spec",
        "waiting",
    )

    def __init__(
        self,
        id: str,
        app: str,
        app_name: str,
        name: str,
        spec: FunctionSpec,
        *,
        durable: bool,
        base: str = "",
        parameters: bytes = b"",
        environment: str = MAIN,
    ) -> None:
        self.id, self.app, self.app_name, self.name, self.spec = id, app, app_name, name, spec
        self.durable, self.base, self.parameters = durable, base, parameters
        self.environment = environment
        self.bounds = spec.scale.min_containers, spec.scale.max_containers
        """The least and most containers, as they were declared or changed since."""
        self.queued = 0
        self.waiting = ""
        self.impossible = ""
        """Why no node that is here, or may come, could run it, when it was last looked at."""
        self.decided = ""
        self.notes: list[str] = []

    @property
    def title(self) -> str:
        """Its name for people: `name`, or `Name(parameter=…)`."""
        if not self.parameters:
            return self.name
        return f"{self.name}({', '.join(f'{k}={_shown(v)}' for k, v in json.loads(self.parameters).items())})"

    def override(self, least: int | None, most: int | None) -> None:
        """Changes the bounds; None leaves one as it is. Raises `InvalidError` where the least would be above the
        most."""
        least, most = self.bounds[0] if least is None else least, self.bounds[1] if most is None else most
        if most is not None and least > most:
            raise InvalidError(f"{self.title}: min_containers would be {least}, above its max_containers of {most}")
        self.bounds = least, most

    @property
    def app_key(self) -> str:
        """The key of its app for the core and for nodes."""
        return app_key(self.environment, self.app_name)

    @property
    def lacks_parameters(self) -> bool:
        """Whether it is a class that cannot be made without parameters, so that only its variants have containers."""
        return not self.base and any(parameter.required for parameter in self.spec.parameters)

    def added(self, trial: str = "") -> FunctionAdded:
        """The event that adds it to the core. A class with required parameters gets no containers of its own, since
        only its variants can be made."""
        spec = msgspec.structs.replace(self.spec, env=())  # the core, and so its journal, has no need of values
        if self.lacks_parameters:
            scale = msgspec.structs.replace(spec.scale, min_containers=0, buffer_containers=0)
            spec = msgspec.structs.replace(spec, scale=scale)
        return FunctionAdded(self.id, self.app_key, spec, self.durable, trial)

    def row(self) -> dict[str, Any]:
        """Its row in the store."""
        return {
            "id": self.id,
            "app": self.app,
            "name": self.name,
            "base": self.base,
            "parameters": self.parameters,
            "spec": _encode(self.spec),
            "successor": "",
            "created": time.time(),
        }


def from_row(row: Any, spec: bytes, app_name: str, durable: bool, environment: str) -> Function:
    """The function of a row, whose decrypted spec is `spec`."""
    return Function(
        row.id,
        row.app,
        app_name,
        row.name,
        _decode(spec),
        durable=durable,
        base=row.base,
        parameters=row.parameters,
        environment=environment,
    )


def same_containers(old: FunctionSpec, new: FunctionSpec) -> bool:
    """Whether containers of `old` can serve `new`: the specs differ only in policies that containers do not know."""
    return _without_policies(old) == _without_policies(new)


def _without_policies(spec: FunctionSpec) -> FunctionSpec:
    scale = ScalePolicy(max_inputs=spec.scale.max_inputs, single_use=spec.scale.single_use)
    fresh = FunctionSpec(name="")
    return msgspec.structs.replace(spec, scale=scale, retries=fresh.retries, priority=fresh.priority)


class Functions:
    """All functions by id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Function] = {}
        self._variants: dict[str, dict[bytes, Function]] = {}
        self._successors: dict[str, str] = {}

    def add(self, function: Function) -> None:
        """Registers a function or a variant."""
        self._by_id[function.id] = function
        if function.base:
            self._variants.setdefault(function.base, {})[function.parameters] = function

    def remove(self, id: str) -> Function | None:
        """Removes a function or variant. The caller also removes the variants of a class, one by one."""
        function = self._by_id.pop(id, None)
        if function is not None and function.base:
            variants = self._variants.get(function.base, {})
            variants.pop(function.parameters, None)
            if not variants:
                self._variants.pop(function.base, None)
        return function

    def replaced(self, old: str, new: str) -> None:
        """Notes that `new` is the successor of `old`."""
        self._successors[old] = new

    def get(self, id: str) -> Function | None:
        """The function of this id, or its successor; None if there is neither."""
        for _ in range(MAX_HOPS):
            function = self._by_id.get(id)
            if function is not None:
                return function
            if id not in self._successors:
                return None
            id = self._successors[id]
        return None

    def need(self, id: str, principal: Principal) -> Function:
        """Like `get`, for a principal. Raises `NotFoundError`, also for a function of an environment that it does not
        reach."""
        function = self.get(id)
        if function is None or not principal.reaches(function.environment):
            raise NotFoundError(f"there is no function {id!r}; its app has ended, or it was never deployed")
        return function

    def all(self) -> list[Function]:
        """Every function and variant."""
        return list(self._by_id.values())

    def variants(self, id: str) -> list[Function]:
        """The variants of a class."""
        return list(self._variants.get(id, {}).values())

    def variant(self, base: Function, parameters: bytes) -> tuple[Function, bool]:
        """The variant of a class for a parameter set, and whether it is new. Raises `InvalidError` for a malformed
        parameter set, and `ResourceExhaustedError` if the class has `MAX_VARIANTS`."""
        canonical = _canonical(base, parameters)
        if canonical == b"{}" or base.base:
            return base, False
        variants = self._variants.get(base.id, {})
        if canonical in variants:
            return variants[canonical], False
        if len(variants) >= MAX_VARIANTS:
            raise ResourceExhaustedError(
                f"class {base.name!r} has {MAX_VARIANTS} parameter sets, the most that it may have; "
                "use fewer different parameters"
            )
        id = "fn-" + hashlib.sha256(base.id.encode() + b"\0" + canonical).hexdigest()[:32]
        spec = base.spec
        if spec.scale.min_containers or spec.scale.buffer_containers:
            scale = msgspec.structs.replace(spec.scale, min_containers=0)
            spec = msgspec.structs.replace(spec, scale=scale)
        variant = Function(
            id,
            base.app,
            base.app_name,
            base.name,
            spec,
            durable=base.durable,
            base=base.id,
            parameters=canonical,
            environment=base.environment,
        )
        self.add(variant)
        return variant, True


def _shown(value: Any) -> str:
    """A parameter for people; what is encoded (bytes, a pickle) is left out."""
    return "…" if isinstance(value, dict) else repr(value)


def _canonical(base: Function, parameters: bytes) -> bytes:
    try:
        values = json.loads(parameters or b"{}")
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise InvalidError(f"parameters of {base.name!r} must be a JSON object")
    known = {parameter.name for parameter in base.spec.parameters}
    unknown = sorted(set(values) - known)
    if unknown:
        raise InvalidError(
            f"class {base.name!r} has no parameter {unknown[0]!r}; it has {', '.join(sorted(known)) or 'none'}"
        )
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
