"""Methods of classes and endpoints: the decorators that make a `Method`, which can be called from outside.

`obj.name` gives a `Function` with `.remote`, `.local` and the rest, and `self.name(…)` inside the class still calls
the method itself.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from inrush.client._marks import Marked, add, is_generator, mark_of, raw_of, refuse, refuse_bare
from inrush.errors import InvalidError, UnimplementedError

if TYPE_CHECKING:
    from inrush.client.cls import OwnMethod
    from inrush.client.function import Function
    from inrush.wire import Web

P = ParamSpec("P")
R = TypeVar("R")
O = TypeVar("O")  # noqa: E741 - the type as written, before a coroutine is awaited

_LABEL_CHARACTERS = 63


class Method(Marked, Generic[P, R, O]):
    """A method of an `@app.cls` class, or an endpoint."""

    def __get__(self, instance: object, owner: type | None = None) -> OwnMethod[P, R, O]:
        if instance is None:
            return self  # type: ignore[return-value]
        from inrush.client.cls import bound_method

        return bound_method(instance, self)


class FunctionDecorator:
    """The result of `@app.function(…)`, typed so that `f.remote(3)` has the parameters and the result of `f`."""

    def __init__(self, register: Callable[[Any], Function[..., Any, Any]]) -> None:
        self._register = register

    @overload
    def __call__(self, function: Method[P, R, O]) -> Function[P, R, O]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> Function[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> Function[P, R, R]: ...
    def __call__(self, function: Any) -> Function[..., Any, Any]:
        return self._register(function)


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
        refuse(function, "method")
        if mark_of(function).enter or mark_of(function).exit:
            raise InvalidError(f"{function.__qualname__} is a hook; it cannot be a method that is called as well")
        generator = is_generator(raw_of(function)) if self._generator is None else self._generator
        made: Method[..., Any, Any] = function if isinstance(function, Method) else Method(function)
        return add(made, "method", method=True, is_generator=generator)


def method(_used_bare: object = None, /, *, is_generator: bool | None = None) -> _MethodDecorator:
    """Marks a method of an `@app.cls` class that can be called from outside: `Model().generate.remote(…)`.

    `is_generator` says that it yields where that cannot be seen (a function that returns a generator).
    """
    refuse_bare(_used_bare, "method")
    return _MethodDecorator(is_generator)


class _WebDecorator:
    def __init__(self, decorator: str, web: Web) -> None:
        self._decorator = decorator
        self._web = web

    @overload
    def __call__(self, function: Method[P, R, O]) -> Method[P, R, O]: ...

    @overload
    def __call__(self, function: Callable[P, R]) -> Callable[P, R]: ...

    def __call__(self, function: Any) -> Any:
        refuse(function, self._decorator)
        made = function if isinstance(function, Method) else Method(function)
        generator = is_generator(made.raw)
        return add(made, self._decorator, web=self._web, method=True, is_generator=generator)


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
    refuse_bare(_used_bare, "fastapi_endpoint")
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
    refuse_bare(_used_bare, "asgi_app")
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
    refuse_bare(_used_bare, "wsgi_app")
    return _web("wsgi_app", custom_domains, requires_proxy_auth, kind="wsgi", label=label)
