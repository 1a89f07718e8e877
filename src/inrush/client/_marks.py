"""Decorators that only mark: what `@enter`, `@method`, `@fastapi_endpoint` and their like leave on a function.

The mark is the attribute `__inrush__`, read when the class or function is registered, and by the guest. Hooks stay
plain functions; methods and endpoints become a `Method`, so that `obj.name` can offer `.remote`, `.local` and the rest,
and `self.name(…)` inside the class still calls the method itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, overload

from inrush.client._checks import count
from inrush.errors import InvalidError, UnimplementedError

if TYPE_CHECKING:
    from inrush.client.function import Function
    from inrush.wire import Web

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - the type as written, before a coroutine is awaited
F = TypeVar("F", bound=Callable[..., Any])

ATTRIBUTE = "__inrush__"

_CLUSTER_MOST = 64
_LABEL_CHARACTERS = 63
_YIELDS = 0x20 | 0x200
"""Flags of a generator's code and of an async one's; `inspect` has them too, and takes 10 ms to load."""


class Mark(NamedTuple):
    """What decorators said about one function, or about one class (`max_inputs`, `target_inputs` alone)."""

    enter: bool = False
    snap: bool = False
    """An enter hook that runs before the memory snapshot."""
    exit: bool = False
    method: bool = False
    """Callable from outside; endpoints are too."""
    is_generator: bool = False
    web: Web | None = None
    max_inputs: int | None = None
    target_inputs: int | None = None
    cluster_size: int = 0


class Method(Generic[P, R, O]):
    """A method of an `@app.cls` class. `raw` is the function as written."""

    def __init__(self, raw: Callable[..., Any]) -> None:
        self.raw = raw
        functools.update_wrapper(self, raw, updated=())
        setattr(self, ATTRIBUTE, mark_of(raw))

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Function[P, R, O]:
        if instance is None:
            return self  # type: ignore[return-value]
        from inrush.client.cls import bound_method

        return bound_method(instance, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.raw(*args, **kwargs)


def mark_of(thing: object) -> Mark:
    """The marks of a function, a `Method` or a class; an empty one where there are none."""
    found = getattr(thing, ATTRIBUTE, None)
    return found if isinstance(found, Mark) else Mark()


def raw_of(thing: Any) -> Any:
    """The function as the user wrote it."""
    return thing.raw if isinstance(thing, Method) else thing


def is_generator(function: Callable[..., Any]) -> bool:
    """Does calling it give something to iterate over?"""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & _YIELDS)


def _add(thing: F, decorator: str, **changes: Any) -> F:
    if not callable(thing) and not isinstance(thing, Method):
        raise InvalidError(f"@{decorator} decorates a function, not {thing!r}; write @{decorator}() with parentheses")
    setattr(thing, ATTRIBUTE, mark_of(thing)._replace(**changes))
    return thing


def _only_called(thing: object, decorator: str) -> None:
    if thing is not None:
        raise InvalidError(f"write @{decorator}() with parentheses")


def enter(_used_bare: object = None, /, *, snap: bool = False) -> Callable[[F], F]:
    """Marks a method of a class that runs once in each container, before its first input.

    Hooks of base classes run first. With `snap=True`, and `enable_memory_snapshot=True` on the class, it runs once
    before the memory snapshot is taken, and every container starts from there: load models in it, but touch neither
    CUDA nor sockets.
    """
    _only_called(_used_bare, "enter")
    return lambda function: _add(function, "enter", enter=True, snap=snap)


def exit(_used_bare: object = None, /) -> Callable[[F], F]:
    """Marks a method of a class that runs when its container goes, with 30 s of grace."""
    _only_called(_used_bare, "exit")
    return lambda function: _add(function, "exit", exit=True)


class _MethodDecorator:
    """Typed so that `obj.generate.remote(…)` has the method's own parameters and result."""

    def __init__(self, generator: bool | None) -> None:
        self._generator = generator

    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]
    ) -> Method[P, R, Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[Any, P], R]) -> Method[P, R, R]: ...

    def __call__(self, function: Callable[..., Any]) -> Method[..., Any, Any]:
        if mark_of(function).enter or mark_of(function).exit:
            raise InvalidError(f"{function.__qualname__} is a hook; it cannot be a method that is called as well")
        generator = is_generator(raw_of(function)) if self._generator is None else self._generator
        made: Method[..., Any, Any] = function if isinstance(function, Method) else Method(function)
        return _add(made, "method", method=True, is_generator=generator)


def method(_used_bare: object = None, /, *, is_generator: bool | None = None) -> _MethodDecorator:
    """Marks a method of an `@app.cls` class that can be called from outside: `Model().generate.remote(…)`.

    `is_generator` says that it yields where that cannot be seen (a function that returns a generator).
    """
    _only_called(_used_bare, "method")
    return _MethodDecorator(is_generator)


class _ConcurrentDecorator:
    def __init__(self, max_inputs: int, target_inputs: int | None) -> None:
        self._max_inputs = max_inputs
        self._target_inputs = target_inputs

    def __call__(self, thing: F) -> F:
        in_class = "." in getattr(raw_of(thing), "__qualname__", "").rpartition("<locals>.")[2]
        if mark_of(thing).method and in_class and not isinstance(thing, type):
            raise InvalidError("@concurrent goes on the class, not on one of its methods: they share the container")
        if isinstance(thing, type):
            setattr(thing, ATTRIBUTE, Mark(max_inputs=self._max_inputs, target_inputs=self._target_inputs))
            return thing
        return _add(thing, "concurrent", max_inputs=self._max_inputs, target_inputs=self._target_inputs)


def concurrent(
    _used_bare: object = None, /, *, max_inputs: int | None = None, target_inputs: int | None = None
) -> _ConcurrentDecorator:
    """Lets one container run `max_inputs` inputs at once: plain functions in threads, async ones as tasks.

    Scaling aims at `target_inputs` (default: `max_inputs`) and bursts to `max_inputs` while more containers start. It
    goes below `@app.function` or `@app.cls`. Raises `InvalidError` unless 1 ≤ target_inputs ≤ max_inputs.
    """
    _only_called(_used_bare, "concurrent")
    max_inputs = count("@concurrent: max_inputs", max_inputs, least=1)
    if target_inputs is not None and not 1 <= count("@concurrent: target_inputs", target_inputs) <= max_inputs:
        raise InvalidError(
            f"@concurrent: target_inputs must be between 1 and max_inputs ({max_inputs}), not {target_inputs!r}"
        )
    return _ConcurrentDecorator(max_inputs, target_inputs)


def clustered(size: int) -> Callable[[F], F]:
    """Runs each input in `size` containers at once, all or none of them, for work that spans nodes.

    It goes below `@app.function`. Each container finds `INRUSH_CLUSTER_RANK` (0 to size - 1), `INRUSH_CLUSTER_SIZE` and
    `INRUSH_CLUSTER_ID` in its environment. The result is that of rank 0; an input that fails in any of them fails.
    Raises `InvalidError` unless size is between 2 and 64.
    """
    if isinstance(size, bool) or not isinstance(size, int) or not 2 <= size <= _CLUSTER_MOST:
        raise InvalidError(f"@clustered needs a size between 2 and {_CLUSTER_MOST}, not {size!r}")

    def mark(thing: F) -> F:
        if isinstance(thing, type) or mark_of(thing).method:
            raise InvalidError("@clustered goes on a function, not on a class or a method")
        return _add(thing, "clustered", cluster_size=size)

    return mark


class _WebDecorator:
    def __init__(self, decorator: str, web: Web) -> None:
        self._decorator = decorator
        self._web = web

    @overload
    def __call__(self, function: Method[P, R, O]) -> Method[P, R, O]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> Callable[P, R]: ...

    def __call__(self, function: Any) -> Any:
        made = function if isinstance(function, Method) else Method(function)
        generator = is_generator(made.raw)
        return _add(made, self._decorator, web=self._web, method=True, is_generator=generator)


def _web(
    decorator: str,
    custom_domains: Iterable[str] | None,
    requires_proxy_auth: bool,
    *,
    kind: str,
    label: str | None,
    method: str = "GET",
    docs: bool = False,
) -> _WebDecorator:
    if custom_domains:
        raise UnimplementedError(
            f"@{decorator}(custom_domains=…) is not built yet: point a reverse proxy at the endpoint's URL"
        )
    if requires_proxy_auth:
        raise UnimplementedError(
            f"@{decorator}(requires_proxy_auth=True) is not built yet: check a header in the handler"
        )
    if label and (len(label) > _LABEL_CHARACTERS or not all(c.isalnum() or c == "-" for c in label)):
        raise InvalidError(
            f"@{decorator}: a label has up to {_LABEL_CHARACTERS} letters, digits and dashes, not {label!r}"
        )
    from inrush.wire import Web

    return _WebDecorator(decorator, Web(kind=kind, label=label or "", method=method, docs=docs))


_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")


def fastapi_endpoint(
    _used_bare: object = None,
    /,
    *,
    method: str = "GET",
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    docs: bool = False,
    requires_proxy_auth: bool = False,
) -> _WebDecorator:
    """Serves the function at a URL, as a FastAPI handler at `/`: its parameters come from the query or the JSON body.

    `method` is the HTTP method, `label` replaces the last part of the URL, `docs=True` adds `/docs`. The image must
    hold fastapi. Goes below `@app.function` or on a method of a class; `get_web_url()` tells the URL.
    """
    _only_called(_used_bare, "fastapi_endpoint")
    if method.upper() not in _METHODS:
        raise InvalidError(f"@fastapi_endpoint: method is one of {', '.join(_METHODS)}, not {method!r}")
    return _web(
        "fastapi_endpoint",
        custom_domains,
        requires_proxy_auth,
        kind="fastapi",
        label=label,
        method=method.upper(),
        docs=docs,
    )


web_endpoint = fastapi_endpoint
"""The older name of `fastapi_endpoint`."""


def asgi_app(
    _used_bare: object = None,
    /,
    *,
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    requires_proxy_auth: bool = False,
) -> _WebDecorator:
    """Serves the ASGI app that the function returns (FastAPI, Starlette, …) at a URL; lifespan and web sockets
    included.

    `label` replaces the last part of the URL.
    """
    _only_called(_used_bare, "asgi_app")
    return _web("asgi_app", custom_domains, requires_proxy_auth, kind="asgi", label=label)


def wsgi_app(
    _used_bare: object = None,
    /,
    *,
    label: str | None = None,
    custom_domains: Iterable[str] | None = None,
    requires_proxy_auth: bool = False,
) -> _WebDecorator:
    """Serves the WSGI app that the function returns (Flask, Django, …) at a URL. `label` replaces the last part of
    the URL."""
    _only_called(_used_bare, "wsgi_app")
    return _web("wsgi_app", custom_domains, requires_proxy_auth, kind="wsgi", label=label)
