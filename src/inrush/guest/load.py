"""Loads user code: imports its module, unwraps what the SDK wrapped, makes the object and runs its hooks.

Decorators of the SDK leave their options in the attribute `__inrush__` of a function (`client/_marks.py`); this file
reads only `enter`, `snap` and `exit`. A function or class that the SDK has wrapped has the original as `raw`.
"""

from __future__ import annotations

import base64
import importlib
import pickle
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from inrush.errors import StartupError
from inrush.guest.children import ChildrenEndHere
from inrush.guest.target import RunAsync, Target, awaited
from inrush.guest.tracebacks import traceback_text

SOURCE_ROOT = "/root"


class Loaded:
    """Imported user code, with its object if it is a class. `phases` lists what took how long, in ms."""

    def __init__(self, spec: dict[str, Any], pickled: bytes) -> None:
        self.name = str(spec.get("qualname") or spec.get("function"))
        self.spec = spec
        self.targets: dict[str, Target] = {}
        self.phases: list[tuple[str, float]] = []
        started = time.monotonic()
        with ChildrenEndHere():
            self._thing = _find(spec, pickled)
            self._object = _make(self._thing, spec.get("parameters")) if spec.get("is_class") else None
        self._hooks = hooks(self._object) if self._object is not None else []
        self._noted("import", started)

    def enter(self, snap: bool, run_async: RunAsync) -> None:
        """Runs the enter hooks of before (`snap`) or after the snapshot, those of base classes first."""
        mine = [hook for hook, mark in self._hooks if mark.enter and mark.snap == snap]
        started = time.monotonic()
        for hook in mine:
            self._run(hook, run_async)
        if mine:
            self._noted("snap hooks" if snap else "enter hooks", started)

    def exit(self, run_async: RunAsync) -> None:
        """Runs the exit hooks and shuts down web apps. One that raises is printed, and does not keep others from
        running."""
        ends = [partial(self._run, hook, run_async) for hook, mark in self._hooks if mark.exit]
        sites = [target.site for target in self.targets.values() if target.site is not None]
        for end in [*ends, *(partial(self._run, site.close, run_async) for site in sites)]:
            try:
                end()
            except BaseException as error:
                sys.stderr.write(traceback_text(error))

    def open(self, run_async: RunAsync) -> None:
        """Fills `targets` with everything that an input can name: the function, methods, web apps."""
        web = self.spec.get("web") or {}
        names = self.spec.get("methods") if self._object is not None else [""]
        started = time.monotonic()
        for name in dict.fromkeys([*(names or ()), *web]):
            function = self.callable(name)
            if name in web:
                self.targets[name] = _site(name, web[name], function, run_async)
            else:
                self.targets[name] = Target(name, function)
        if web:
            self._noted("web app", started)

    def callable(self, name: str) -> Callable[..., Any]:
        """The function, or the bound method `name`. Raises `StartupError` if the class has no such method."""
        if self._object is None:
            function: Callable[..., Any] = self._thing
            return function
        import inspect

        found = inspect.getattr_static(self._object, name, None)
        if found is None:
            raise StartupError(
                f"{self.name} has no method {name!r} in the container; is the deployed code older than its caller?"
            )
        plain = raw(found)
        return MethodType(plain, self._object) if isinstance(plain, FunctionType) else getattr(self._object, name)

    def _run(self, hook: Callable[[], Any], run_async: RunAsync) -> None:
        import inspect

        with ChildrenEndHere():
            result = hook()
            if inspect.isawaitable(result):
                run_async(awaited(result))

    def _noted(self, phase: str, started: float) -> None:
        self.phases.append((phase, round((time.monotonic() - started) * 1000, 2)))


def raw(thing: Any) -> Any:
    """The user's own function or class, unwrapped from what the SDK put around it."""
    while not isinstance(thing, FunctionType | type) and hasattr(thing, "raw"):
        thing = thing.raw
    return thing


def hooks(instance: object) -> list[tuple[Callable[[], Any], Any]]:
    """Bound hooks with their marks: base classes first, and in the order of definition within a class. An override
    replaces what it overrides."""
    found: dict[str, Any] = {}
    for cls in reversed(type(instance).__mro__):
        for name, value in vars(cls).items():
            mark = getattr(value, "__inrush__", None)
            if getattr(mark, "enter", False) or getattr(mark, "exit", False):
                found[name] = mark
            else:
                found.pop(name, None)
    return [(getattr(instance, name), mark) for name, mark in found.items()]


def _find(spec: dict[str, Any], pickled: bytes) -> Any:
    root = spec.get("root") or SOURCE_ROOT
    if root in sys.path:
        sys.path.remove(root)
    sys.path.insert(0, root)
    importlib.invalidate_caches()
    if spec.get("pickled"):
        return raw(pickle.loads(pickled))  # noqa: S301 - the user's own function
    thing: Any = importlib.import_module(spec["module"])
    for part in spec["qualname"].split("."):
        if not hasattr(thing, part):
            raise StartupError(
                f"{spec['module']} has no {spec['qualname']} in the container: define it at the top of the module, "
                "whatever machine imports it; or use serialized=True"
            )
        thing = getattr(thing, part)
    _need_imports(thing)
    return raw(thing)


def _need_imports(thing: Any) -> None:
    """Raises the import error that `with image.imports()` suppressed, if the function runs in that image."""
    for holder in (getattr(thing, "options", None), getattr(thing, "app", None)):
        image = getattr(holder, "image", None)
        if image is not None:
            if image.missing_import is not None:
                raise image.missing_import
            return


def _make(cls: type, parameters: dict[str, Any] | None) -> object:
    """Makes the user's object. Parameters that its `__init__` takes are given to that, and kept for calls that the
    object makes to itself; the others are set as attributes. Hooks run later."""
    if not parameters:
        return cls()
    import inspect

    values = {name: _decoded(value) for name, value in parameters.items()}
    given = {name: value for name, value in values.items() if name in inspect.signature(cls).parameters}
    instance: object = cls(**given)
    for name in values.keys() - given.keys():
        setattr(instance, name, values[name])
    if given:
        setattr(instance, "__inrush_given__", given)  # noqa: B010 - no name of the class
    return instance


def _decoded(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "pickle" in value:
        return pickle.loads(base64.b64decode(value["pickle"]))  # noqa: S301 - from the user's own program
    return base64.b64decode(value["b64"])


def _site(name: str, web: dict[str, Any], function: Callable[..., Any], run_async: RunAsync) -> Target:
    from inrush.guest import site
    from inrush.guest import web as webs

    with ChildrenEndHere():
        app = webs.build(web, function, run_async)

    async def opened() -> site.Site:
        made = site.Site(app)
        await made.open()
        return made

    return Target(name, function, run_async(opened()))
