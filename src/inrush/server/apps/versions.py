"""Versions of an app: plans what the next version changes against the present one.

A function whose containers can serve the new version keeps its id and its warm containers; only its policies change.
Any other function gets a new id and becomes the successor of the old one. So do the variants of a class whose
parameters the class still has.
"""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from inrush import wire
from inrush.errors import InvalidError
from inrush.server.apps.endpoints import Urls
from inrush.server.apps.functions import Function, Functions, same_containers


class App:
    """One app. `functions` maps names to ids of the current version; `spec` is that version's."""

    __slots__ = (
        "client",
        "created",
        "deployed",
        "detached",
        "ended",
        "functions",
        "held",
        "id",
        "number",
        "spec",
        "urls",
        "version",
        "warnings",
        "words",
    )

    def __init__(
        self, id: str, spec: wire.AppSpec, *, deployed: bool, detached: bool, client: str, created: float
    ) -> None:
        self.id, self.spec = id, spec
        self.deployed, self.detached, self.client = deployed, detached, client
        self.created, self.ended = created, 0.0
        self.version, self.number = "", 0
        self.functions: dict[str, str] = {}
        self.urls = Urls({}, {})
        self.held: dict[int, list[str]] = {}
        """Blobs that kept versions are made of, by the number of the version."""
        self.warnings: tuple[str, ...] = ()
        """What was said of the current version when it started."""
        self.words: dict[str, list[str]] = {}
        """For an app that has ended, why each function had the containers it had."""

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def environment(self) -> str:
        return self.spec.environment

    @property
    def state(self) -> str:
        """Its state for people: `deployed`, `running` (ephemeral), `detached` or `stopped`."""
        if self.ended:
            return "stopped"
        return "deployed" if self.deployed else "detached" if self.detached else "running"

    def need_deployed(self) -> None:
        """Raises `InvalidError` unless it is deployed."""
        if not self.deployed:
            raise InvalidError(f"app {self.name!r} is not deployed: only what is deployed has versions")

    def answer(self) -> dict[str, Any]:
        """The answer to `StartApp`."""
        return {
            "app": self.id,
            "version": self.version,
            "functions": self.functions,
            "urls": self.urls.paths,
            "pages": self.urls.pages,
            "warnings": self.warnings,
        }


class Plan:
    """The changes of a version: `functions` maps all names to ids, `added` are functions that are new or have a new
    spec, `replaced` are pairs of old and new ones, and `removed` are those that it does not have any more."""

    __slots__ = ("added", "functions", "removed", "replaced")

    def __init__(self) -> None:
        self.functions: dict[str, str] = {}
        self.added: list[Function] = []
        self.replaced: list[tuple[Function, Function]] = []
        self.removed: list[Function] = []


def plan_version(app: App, spec: wire.AppSpec, functions: Functions, afresh: bool = False) -> Plan:
    """Plans what changes when `spec` becomes the version of `app`. It changes nothing itself. `afresh` says that no
    function keeps its containers."""
    plan = Plan()
    for new in spec.functions:
        old = functions.get(app.functions[new.name]) if new.name in app.functions else None
        if old is not None and not afresh and same_containers(old.spec, new):
            plan.functions[new.name] = old.id
            if old.spec != new:
                plan.added.append(_like(old, old.id, new))
                plan.added.extend(_like(variant, variant.id, new) for variant in functions.variants(old.id))
            continue
        function = Function(
            _new_id(), app.id, spec.name, new.name, new, durable=app.deployed, environment=app.environment
        )
        plan.functions[new.name] = function.id
        plan.added.append(function)
        if old is not None:
            plan.replaced.append((old, function))
            _plan_variants(plan, functions.variants(old.id), function)
    for name, id in app.functions.items():
        if name not in plan.functions:
            plan.removed.extend(f for f in (functions.get(id), *functions.variants(id)) if f is not None)
    return plan


def add_late_variants(plan: Plan, functions: Functions) -> None:
    """Plans for the variants of replaced classes that were made after the plan."""
    planned = {function.id for function in (*(old for old, _ in plan.replaced), *plan.removed)}
    for old, new in list(plan.replaced):
        if not old.base:
            _plan_variants(plan, [v for v in functions.variants(old.id) if v.id not in planned], new)


def _plan_variants(plan: Plan, variants: list[Function], new: Function) -> None:
    """Plans the variants of a class that is replaced."""
    known = {parameter.name for parameter in new.spec.parameters}
    for variant in variants:
        if set(msgspec.json.decode(variant.parameters)) <= known:
            successor = _like(variant, _new_id(), new.spec, base=new.id)
            plan.added.append(successor)
            plan.replaced.append((variant, successor))
        else:
            plan.removed.append(variant)


def _like(function: Function, id: str, spec: wire.FunctionSpec, base: str = "") -> Function:
    """A function or variant like `function`, with another id and spec."""
    return Function(
        id,
        function.app,
        function.app_name,
        function.name,
        spec,
        durable=function.durable,
        base=base or function.base,
        parameters=function.parameters,
        environment=function.environment,
    )


def _new_id() -> str:
    return f"fn-{secrets.token_hex(16)}"


def blobs_of(spec: wire.AppSpec) -> list[str]:
    """The ids of all blobs that an app's functions use: sources, mounts and pickled code."""
    ids = []
    for function in spec.functions:
        named = [function.source, *function.mounts]
        ids += [id if id.startswith(("sha256-", "bl-")) else f"sha256-{id}" for id in named if id]
        ids += [function.pickled] if function.pickled else []
    return ids
