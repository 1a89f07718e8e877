"""Classes that run in containers: their methods, hooks and parameters.

`@app.cls` turns a class into a `Cls`. Calling that makes an `Obj`, a handle whose methods have `.remote` and the rest.
Objects of the class itself (`Cls.raw`) are made in containers, and here where a program asks an instance for more than
its remote methods. Each set of parameters is a variant of the class, with containers of its own.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from inrush import wire
from inrush.client import _checks
from inrush.client._dual import dual
from inrush.client._link import current
from inrush.client._marks import Mark, Marked, mark_of, raw_of
from inrush.client._missing import hint
from inrush.client._parameter import NOTHING, Parameter, parameters_of
from inrush.client._parameter_sets import TYPES, arguments_of, bind, encode, given_to, instantiate
from inrush.client._reference import Reference
from inrush.client._types import Declared, Target
from inrush.client._unbuilt import refuse
from inrush.client.function import Function
from inrush.errors import InvalidError, UnimplementedError

if TYPE_CHECKING:
    import inspect

    from inrush.client._connection import Link
    from inrush.client._options import Options

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
O = TypeVar("O", covariant=True)  # noqa: E741 - the result as written: for an `async def` a coroutine of R

_HANDLE = "__inrush_cls__"
_OF_HANDLE = ("_cls", "_values", "_variant", "_local", "_entered")
_ELSEWHERE = {
    "concurrent": "it goes on the class, whose methods share the container",
    "clustered": "it goes on a function of its own, below @app.function()",
}


def members_of(raw: type) -> dict[str, Any]:
    """All members of the class that carry marks, base classes first. An override replaces what it overrides."""
    found: dict[str, Any] = {}
    for base in reversed(raw.__mro__):
        for name, value in vars(base).items():
            if mark_of(value) != Mark():
                found[name] = value
            else:
                found.pop(name, None)
    return found


def _own(raw: type) -> dict[str, Any]:
    """Attributes of the class and its bases, except those of `object`."""
    return {name: value for base in reversed(raw.__mro__[:-1]) for name, value in vars(base).items()}


class Cls:
    """A class of an app, made by `@app.cls` or `Cls.from_name`. Calling it with its parameters gives an instance."""

    registered_by = "app.cls()"
    raw: type | None
    """The class as the user wrote it; None for one that was looked up by name."""

    def __init__(
        self,
        name: str,
        raw: type | None,
        reference: Reference,
        *,
        app: Declared | None = None,
        options: Options | None = None,
    ) -> None:
        self.raw = raw
        self.name = name
        self.app = app
        self.options = options
        self.reference = reference
        self.methods: dict[str, Mark] = {}
        self._parameters: dict[str, Parameter] = {}
        self._arguments: Mapping[str, inspect.Parameter] = {}
        """Those of its own `__init__`, which is how programs gave parameters formerly."""
        if raw is not None:
            functools.update_wrapper(self, raw, updated=())
            members = members_of(raw)
            self.methods = {n: mark_of(m) for n, m in members.items() if mark_of(m).method}
            self._parameters = parameters_of(raw)
            self._arguments = arguments_of(raw)
            _check(raw, members, self._parameters, self._arguments)
            setattr(raw, _HANDLE, self)

    def __repr__(self) -> str:
        return f"Cls({self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        find = functools.partial(Cls.from_name, environment_name=self.reference.environment or None)
        return find, (self.reference.app, self.reference.name)

    def __getattr__(self, name: str) -> Any:
        known = self.__dict__.get("methods", {})
        if name in known:
            raise AttributeError(f"{name} is a method of instances of {self.name}: write {self.name}().{name}")
        if not name.startswith("_") and hasattr(self.__dict__.get("raw"), name):
            return getattr(self.raw, name)  # a constant of the class, say
        public = (*known, *(one for one in dir(type(self)) if not one.startswith("_")))
        what = f"{self.__dict__.get('name', 'a Cls')} has no attribute {name!r}"
        raise AttributeError(what + ("" if name.startswith("_") else hint(name, public)))

    @staticmethod
    def from_name(
        app_name: str, name: str, *, version: int | None = None, environment_name: str | None = None, client: Any = None
    ) -> Cls:
        """A class of a deployed app, by name.

        The server is asked when the class is first used, or at once by `hydrate`. The class is looked for in the
        environment of this program or container, unless another is named.
        """
        refuse(client)
        if version is not None:
            raise UnimplementedError("Cls.from_name(version=…) is not built yet: calls go to the newest version")
        named = _checks.name("Cls.from_name: app_name", app_name), _checks.name("Cls.from_name: name", name)
        return Cls(name, None, Reference(*named, foreign=True, environment=_checks.environment_of(environment_name)))

    @dual
    async def hydrate(self, client: Any = None) -> Cls:
        """Looks the class up now. Raises `NotFoundError` if it is not there."""
        refuse(client)
        await self.reference.find(await current())
        return self

    def __call__(self, /, *args: Any, **kwargs: Any) -> Obj:
        """An instance with these parameters. Raises `InvalidError` for a parameter that is unknown, missing or of the
        wrong type, and `ArgumentsError` for arguments that the class's own `__init__` does not take."""
        if self._arguments and not self._parameters:
            return Obj(self, bind(self.name, self._arguments, args, kwargs))
        if args:
            named = ", ".join(f"{name}=…" for name in self._parameters)
            how = f"by name: {self.name}({named})" if named else "declared with inrush.parameter(), and has none"
            raise InvalidError(f"{self.name} takes its parameters {how}")
        return Obj(self, self._checked(kwargs) if self.raw is not None else kwargs)

    @property
    def settable(self) -> dict[str, Any]:
        """The parameters that an instance takes, with their defaults (`inspect.Parameter.empty` where there is
        none)."""
        import inspect

        if not self._parameters:
            return {name: argument.default for name, argument in self._arguments.items()}
        found = {name: parameter.default for name, parameter in self._parameters.items() if parameter.init}
        return {name: inspect.Parameter.empty if default is NOTHING else default for name, default in found.items()}

    def _checked(self, given: dict[str, Any]) -> dict[str, Any]:
        settable = {n: p for n, p in self._parameters.items() if p.init}
        unknown = sorted(set(given) - set(settable))
        if unknown:
            has = f"its parameters are {', '.join(settable)}" if settable else "declare it with inrush.parameter()"
            raise InvalidError(f"{self.name} has no parameter {unknown[0]}; {has}")
        values = {}
        for name, found in settable.items():
            value = given.get(name, found.default)
            if value is NOTHING:
                raise InvalidError(f"{self.name} needs its parameter {name}: {self.name}({name}=…)")
            expected = _type_of(self.raw, name)
            if type(value) is not expected:
                raise InvalidError(f"{self.name}: parameter {name} is of type {expected.__name__}, not {value!r}")
            values[name] = value
        encode(values)
        return values

    def with_options(self, **options: Any) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError("Cls.with_options is not built yet: define a second class with the other options")

    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError("Cls.with_concurrency is not built yet: decorate the class with @inrush.concurrent")

    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError("Cls.with_batching is not built yet: pass lists of inputs")

    def wire_parameters(self) -> tuple[wire.Parameter, ...]:
        """The parameters as the function's spec describes them."""
        if not self._parameters:
            arguments = self._arguments.values()
            return tuple(wire.Parameter(a.name, "any", required=a.default is a.empty) for a in arguments)
        return tuple(
            wire.Parameter(name=n, type=_type_of(self.raw, n).__name__, required=p.default is NOTHING)
            for n, p in self._parameters.items()
            if p.init
        )


class Obj:
    """An instance of a `Cls`: a handle whose methods are `Function`s. Its other attributes are those of an object of
    the user's class, which is made here when it is first needed; `.local` runs the enter hooks of that object first."""

    _cls: Cls
    _values: dict[str, Any]
    _variant: str
    _local: Any
    _entered: bool

    def __init__(self, cls: Cls, values: dict[str, Any]) -> None:
        self.__dict__.update(_cls=cls, _values=values, _variant="", _local=None, _entered=False)

    def __repr__(self) -> str:
        return f"{self._cls.name}({', '.join(f'{k}={v!r}' for k, v in self._values.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._cls, self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        cls = self._cls
        if name in cls.methods or cls.raw is None:
            mark = cls.methods.get(name)
            run = functools.partial(self._run_local, name) if cls.raw is not None else None
            find = functools.partial(self._find, name)
            return Function(
                f"{cls.name}.{name}", run, cls.reference, app=cls.app, mark=mark, find=find, of=(self, name)
            )
        if name in self._values and name in parameters_of(cls.raw):
            return self._values[name]
        if not name.startswith("_") or hasattr(cls.raw, name):  # what notebooks look for makes no object
            try:
                return getattr(self._object(), name)
            except AttributeError:
                if hasattr(cls.raw, name) or hasattr(self._local, name):
                    raise  # it comes from the user's code
        has = ", ".join(cls.methods) or "none"
        raise AttributeError(
            f"{cls.name} has no method or attribute {name!r} here{hint(name, (*cls.methods, *dir(cls.raw))) or '.'} "
            f"Its methods are {has}. What @inrush.enter() sets is there after a local call, and in containers"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OF_HANDLE or self._cls.raw is None:
            object.__setattr__(self, name, value)
        elif name in parameters_of(self._cls.raw):
            raise AttributeError(
                f"{name} is a parameter, by which containers differ: make another instance, {self._cls.name}({name}=…)"
            )
        else:
            setattr(self._object(), name, value)

    @property
    def update_autoscaler(self) -> Any:
        """`Function.update_autoscaler` for the containers of this set of parameters."""
        find = functools.partial(self._find, "")
        return Function(self._cls.name, None, self._cls.reference, app=self._cls.app, find=find).update_autoscaler

    def _takes(self, method: str) -> Callable[..., Any] | None:
        found = getattr(self._cls.raw, method, None)
        return functools.partial(found.raw, self) if isinstance(found, Marked) else None

    async def _find(self, method: str, link: Link) -> Target:
        base = await self._cls.reference.find(link)
        if not self._values:
            return Target(base, method)
        if self._variant.partition("/")[0] != base:
            self._variant = base + "/" + await link.ask(wire.BindClass(base, encode(self._values)))
        return Target(self._variant.partition("/")[2], method)

    def _run_local(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """Calls the method in this process. The first such call runs the enter hooks of the user's object."""
        raw = self._cls.raw
        assert raw is not None
        made = self._object()
        if not self._entered:
            for hook in hooks(raw, lambda mark: mark.enter):
                _run_hook(hook, made)
            self._entered = True
        return raw_of(members_of(raw)[method])(made, *args, **kwargs)

    def _object(self) -> Any:
        if self._local is None:
            assert self._cls.raw is not None
            self._local = instantiate(self._cls.raw, self._values)
        return self._local


def _again(cls: Cls, values: dict[str, Any]) -> Obj:
    return Obj(cls, values)


def hooks(raw: type, wanted: Callable[[Mark], bool]) -> list[Callable[[Any], Any]]:
    """Hooks of a class in the order in which they run: those before the snapshot first, then base classes before
    derived ones, then as written."""
    found = [member for member in members_of(raw).values() if wanted(mark_of(member))]
    return sorted((raw_of(member) for member in found), key=lambda hook: not mark_of(hook).snap)


def bound_method(instance: object, method: Marked) -> OwnMethod[Any, Any, Any]:
    """What `self.method` gives inside the class: it can be called like the method, and offers `.remote` and the rest on
    this instance's variant."""
    cls: Cls | None = getattr(type(instance), _HANDLE, None)
    run = functools.partial(method.raw, instance)
    if cls is None:
        name = f"{type(instance).__name__}.{method.name}"
        return OwnMethod(name, run, Reference("", type(instance).__name__, foreign=False), mark=mark_of(method))
    declared = {name: getattr(instance, name) for name, p in parameters_of(type(instance)).items() if p.init}
    of = Obj(cls, declared or given_to(instance))
    return OwnMethod(
        f"{cls.name}.{method.name}",
        run,
        cls.reference,
        app=cls.app,
        mark=mark_of(method),
        find=functools.partial(of._find, method.name),
        of=(of, method.name),
    )


class OwnMethod(Function[P, R, O]):
    """A method as code inside its class sees it; calling it runs the method itself."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> O:
        return self.local(*args, **kwargs)


def _run_hook(hook: Callable[[Any], Any], instance: Any) -> None:
    import inspect

    if inspect.iscoroutinefunction(hook):
        import asyncio

        asyncio.run(hook(instance))
    else:
        hook(instance)


def _type_of(raw: type | None, name: str) -> type:
    assert raw is not None
    annotations = typing.get_type_hints(raw)
    return typing.cast(type, annotations.get(name, type(None)))


def _check(
    raw: type, members: dict[str, Any], parameters: dict[str, Parameter], arguments: Mapping[str, inspect.Parameter]
) -> None:
    """Refuses a class that cannot work in a container. Raises `InvalidError`."""
    import inspect

    needed = [argument.name for argument in arguments.values() if argument.default is argument.empty]
    if parameters and needed:
        raise InvalidError(
            f"{raw.__name__} has parameters and an __init__ that takes arguments: declare those as "
            f"`{needed[0]}: str = inrush.parameter()` too, and set things up in an @inrush.enter() method"
        )
    for name in parameters:
        if _type_of(raw, name) not in TYPES:
            raise InvalidError(f"{raw.__name__}.{name}: a parameter is annotated as str, int, bool or bytes")
    for name, member in _own(raw).items():
        inner = getattr(member, "__func__", None) or getattr(member, "fget", None)
        if isinstance(member, staticmethod | classmethod | property) and mark_of(inner) != Mark():
            kind = type(member).__name__
            raise InvalidError(f"{raw.__name__}.{name} is a {kind}; methods and hooks take self: remove @{kind}")
    for name, member in members.items():
        mark = mark_of(member)
        if mark.max_inputs is not None or mark.cluster_size:
            kind = "concurrent" if mark.max_inputs is not None else "clustered"
            raise InvalidError(f"@{kind} has no effect on {raw.__name__}.{name}: {_ELSEWHERE[kind]}")
        if (mark.enter or mark.exit) and len(inspect.signature(raw_of(member)).parameters) != 1:
            raise InvalidError(f"{raw.__name__}.{name} is a hook; it takes self alone")
