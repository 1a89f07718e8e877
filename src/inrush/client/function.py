"""Functions that run in containers: `f.remote(…)`, `f.map(…)`, `f.spawn(…)` and their like."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, ParamSpec, TypeVar, cast, overload

from inrush.client import _checks, _urls
from inrush.client._dual import DualIter, dual, dual_iter
from inrush.client._link import current
from inrush.client._marks import Mark, is_generator
from inrush.client._missing import Suggests
from inrush.client._reference import Reference
from inrush.client._signature import Shown, of_function, passing
from inrush.client._types import Declared, Target
from inrush.client._unbuilt import refuse
from inrush.errors import InvalidError, UnimplementedError
from inrush.wire import FunctionStats, OverrideScale

if TYPE_CHECKING:
    from inrush.client._connection import Link
    from inrush.client._options import Options
    from inrush.client.call import FunctionCall

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
T = TypeVar("T")
O = TypeVar("O", covariant=True)  # noqa: E741 - the result as written: for an `async def` a coroutine of R


class Stats(NamedTuple):
    """What `Function.get_current_stats` returns: counts of this moment."""

    backlog: int
    """Inputs that wait for a slot."""
    num_total_runners: int
    """Containers that start or run."""
    num_running_inputs: int
    input_headroom: int
    """Inputs that could start at once."""


class _items(dual_iter[Any, Any, Any]):
    """`dual_iter` for generator functions, typed by their items."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: Function[P, Iterable[T], Any], owner: Any = None) -> DualIter[P, T]: ...
        @overload
        def __get__(self, instance: Function[P, AsyncIterable[T], Any], owner: Any = None) -> DualIter[P, T]: ...
        @overload
        def __get__(self, instance: Function[P, Any, Any], owner: Any = None) -> DualIter[P, Any]: ...
        def __get__(self, instance: Any, owner: Any = None) -> Any: ...


class Function(Suggests, Generic[P, R, O]):
    """A function of an app, or a method of one of its classes. `@app.function`, `Function.from_name` and `obj.method`
    make it.

    Every method that talks to the server blocks, and has an async twin: `await f.remote.aio(3)`, `async for x in
    f.map.aio(xs)`.
    """

    registered_by = "app.function()"
    __signature__ = Shown(lambda function: of_function(function.takes))
    raw: Callable[..., Any] | None
    """The function as the user wrote it; None for one that was looked up by name."""

    def __init__(
        self,
        name: str,
        raw: Callable[..., Any] | None,
        reference: Reference,
        *,
        app: Declared | None = None,
        options: Options | None = None,
        mark: Mark | None = None,
        find: Callable[[Link], Coroutine[Any, Any, Target]] | None = None,
        of: tuple[Any, str] | None = None,
    ) -> None:
        """`find` resolves a method of an instance, and `of` is that instance and the method's name; a plain function
        is found by its reference."""
        self.raw = raw
        self.name = name
        self.app = app
        self.options = options
        self.mark = mark or Mark()
        self.reference = reference
        self.target = find or self._plain
        self._of = of
        if raw is not None:
            functools.update_wrapper(cast(Any, self), raw, updated=())

    def __repr__(self) -> str:
        return f"Function({self.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._of is not None:
            return getattr, self._of
        find = functools.partial(Function.from_name, environment_name=self.reference.environment or None)
        return find, (self.reference.app, self.reference.name)

    if not TYPE_CHECKING:  # so that type checkers find calls that lack `.remote`

        def __call__(self, /, *args, **kwargs):
            raise InvalidError(
                f"write {self.name}.remote(…) to run it in a container, or {self.name}.local(…) to run it here"
            )

    @staticmethod
    def from_name(
        app_name: str, name: str, *, version: int | None = None, environment_name: str | None = None, client: Any = None
    ) -> Function[..., Any, Any]:
        """A function of a deployed app, by name.

        The server is asked when the function is first used, or at once by `hydrate`; `NotFoundError` is raised then if
        it has no such function. `environment_name` says in which environment the app is; the default is the environment
        of this program or container. For a method of a class use `Cls.from_name`.
        """
        refuse(client)
        if version is not None:
            raise UnimplementedError("Function.from_name(version=…) is not built yet: calls go to the newest version")
        named = _checks.name("Function.from_name: app_name", app_name), _checks.name("Function.from_name: name", name)
        return Function(
            name, None, Reference(*named, foreign=True, environment=_checks.environment_of(environment_name))
        )

    # -- calling --

    @dual
    async def remote(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs the function in a container and returns its result. An exception of the function is raised here, with
        the remote traceback as its cause.

        Raises `SerializationError` for an argument that cannot be pickled, `RequestSizeError` for one that is too
        large, `FunctionTimeoutError` after the function's timeout, `ExecutionError` when its container died, and
        `InvalidError` when its app does not run.
        """
        self._no_endpoint("remote")
        if self.mark.is_generator:
            raise InvalidError(f"{self.name} yields; iterate over {self.name}.remote_gen(…)")
        from inrush.client import _calling

        return cast(R, await _calling.remote(self, args, kwargs))

    @_items
    async def remote_gen(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, None]:
        """Runs a generator function in a container and yields its items as they come.

        The container runs at most 64 items ahead of the caller. Leaving the loop early cancels the call. A generator is
        never retried.
        """
        self._no_endpoint("remote_gen")
        from inrush.client import _calling

        async with aclosing(_calling.stream(self, args, kwargs)) as items:
            async for item in items:
                yield item

    @passing
    def local(self, /, *args: P.args, **kwargs: P.kwargs) -> O:
        """Calls the function in this process, without a container. Raises `InvalidError` for one that was looked up by
        name."""
        if self.raw is None:
            raise InvalidError(f"{self.name} was looked up by name, so its code is not here; use .remote(…)")
        return cast(O, self.raw(*args, **kwargs))

    @dual_iter
    async def map(
        self,
        *input_iterators: Any,
        kwargs: Mapping[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> AsyncGenerator[R, None]:
        """Runs the function for each element of the iterators, in parallel, and yields the results.

        Give one iterator for each parameter; the shortest ends the map. `kwargs` are further arguments, the same for
        all inputs. Results come in the order of the inputs, or with `order_outputs=False` as they are ready. The first
        exception is raised here and cancels the rest; with `return_exceptions=True` exceptions take the place of
        results instead. Each input is retried on its own. The iterators are read only as far as the server's window
        allows (2,048 inputs without a result); `.map.aio` takes async iterators too.
        """
        if not input_iterators:
            raise InvalidError(f"{self.name}.map needs something to iterate over")
        if wrap_returned_exceptions:
            raise UnimplementedError("map(wrap_returned_exceptions=True) is not built: exceptions come as they are")
        from inrush.client._map import zipped

        async with aclosing(self._fan(zipped(input_iterators), kwargs, order_outputs, return_exceptions)) as results:
            async for value in results:
                yield value

    @dual_iter
    async def starmap(
        self,
        input_iterator: Any,
        /,
        *,
        kwargs: Mapping[str, Any] | None = None,
        order_outputs: bool = True,
        return_exceptions: bool = False,
        wrap_returned_exceptions: bool | None = None,
    ) -> AsyncGenerator[R, None]:
        """Like `map`, over one iterator of argument tuples."""
        if wrap_returned_exceptions:
            raise UnimplementedError("starmap(wrap_returned_exceptions=True) is not built: exceptions come as they are")
        from inrush.client._map import listed

        async with aclosing(self._fan(listed(input_iterator), kwargs, order_outputs, return_exceptions)) as results:
            async for value in results:
                yield value

    @dual
    async def for_each(
        self, *input_iterators: Any, kwargs: Mapping[str, Any] | None = None, ignore_exceptions: bool = False
    ) -> None:
        """Like `map`, for functions whose results do not matter. Raises the first exception, unless `ignore_exceptions`
        is given."""
        from inrush.client._map import zipped

        async with aclosing(self._fan(zipped(input_iterators), kwargs, False, ignore_exceptions)) as results:
            async for _ in results:
                pass

    @dual
    async def spawn(self, /, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        """Starts the function and returns its call at once.

        The server owns the call from then on: it runs to its end whatever becomes of the caller, and its result is kept
        for 7 days (setting `result_ttl_s`).
        """
        self._no_generator("spawn")
        from inrush.client import _calling

        return await _calling.spawn(self, args, kwargs)

    @dual
    async def spawn_map(
        self, *input_iterators: Iterable[Any], kwargs: Mapping[str, Any] | None = None
    ) -> FunctionCall[R]:
        """Starts the function for each element of the iterators and returns one call at once; `get(index=…)` and
        `iter()` of the call give the results."""
        self._no_generator("spawn_map")
        from inrush.client import _calling

        return await _calling.spawn_many(self, input_iterators, kwargs or {})

    experimental_spawn_map = spawn_map

    # -- looking after it --

    @dual
    async def hydrate(self, client: Any = None) -> Function[P, R, O]:
        """Looks the function up now. Raises `NotFoundError` if it is not there."""
        refuse(client)
        await self.target(await current())
        return self

    @property
    def object_id(self) -> str:
        """The function's id (`fn-…`) while its app runs, or after `hydrate`. Raises `InvalidError` before."""
        if not self.reference.id:
            raise InvalidError(f"{self.name} has no id yet: its app does not run here, or hydrate() was not called")
        return self.reference.id

    @dual
    async def get_web_url(self) -> str | None:
        """Its URL, if it is an endpoint; else None. It is the one by host name where the server has a domain for apps
        (setting `apps_domain`) that resolves here; else the one by path, at the address where this program has its
        server."""
        await self.target(await current())
        method = self.name.partition(".")[2]
        if method not in self.reference.urls:
            return None
        return await _urls.resolved(self.reference.urls[method], self.reference.pages.get(method, ""))

    @dual
    async def get_current_stats(self) -> Stats:
        """Counts of waiting inputs, containers and running inputs at this moment."""
        link = await current()
        answer = await link.ask(FunctionStats((await self.target(link)).function))
        return Stats(answer["backlog"], answer["containers"], answer["running_inputs"], answer["input_headroom"])

    @dual
    async def update_autoscaler(
        self,
        *,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: float | None = None,
    ) -> None:
        """Changes the function's scaling at once and until the next deploy. None leaves a value as it is.
        `scaledown_window` is in seconds."""
        for name, value, least in (
            ("min_containers", min_containers, 0),
            ("max_containers", max_containers, 1),
            ("buffer_containers", buffer_containers, 0),
        ):
            if value is not None:
                _checks.count(f"update_autoscaler: {name}", value, least)
        if min_containers is not None and max_containers is not None and min_containers > max_containers:
            raise InvalidError(
                f"update_autoscaler: min_containers ({min_containers}) is above max_containers ({max_containers})"
            )
        if scaledown_window is not None:
            _checks.seconds("update_autoscaler: scaledown_window", scaledown_window, 0.0)
        link = await current()
        function = (await self.target(link)).function
        await link.ask(OverrideScale(function, min_containers, max_containers, buffer_containers, scaledown_window))

    def with_options(self, **options: Any) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError(
            "Function.with_options is not built yet: define a second function with the other options"
        )

    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError(
            "Function.with_concurrency is not built yet: decorate the function with @inrush.concurrent"
        )

    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError("Function.with_batching is not built yet: pass lists of inputs")

    # -- inside --

    @property
    def takes(self) -> Callable[..., Any] | None:
        """What its arguments are checked against; None where its code is not here."""
        return self.raw if self._of is None else self._of[0]._takes(self._of[1])

    async def _plain(self, link: Link) -> Target:
        return Target(self.reference.id or await self.reference.find(link))

    async def _fan(
        self, rows: Any, kwargs: Mapping[str, Any] | None, ordered: bool, keep_errors: bool
    ) -> AsyncGenerator[R, None]:
        self._no_generator("map")
        from inrush.client import _calling

        async with aclosing(_calling.fan(self, rows, kwargs, ordered, keep_errors)) as values:
            async for value in values:
                yield value

    def _no_endpoint(self, verb: str) -> None:
        """A function that was looked up by name is refused by its container instead."""
        if self.mark.web is not None:
            raise InvalidError(
                f"{self.name} is an endpoint, which is asked over HTTP: {self.name}.get_web_url() tells its URL, and "
                f"{verb} is for functions that are none"
            )

    def _no_generator(self, verb: str) -> None:
        self._no_endpoint(verb)
        if self.mark.is_generator:
            raise InvalidError(
                f"{self.name} yields, and {verb} takes functions that return; use {self.name}.remote_gen(…)"
            )


def mark_generator(mark: Mark, raw: Callable[..., Any], said: bool | None) -> Mark:
    """The mark, completed by whether the function yields."""
    return mark._replace(is_generator=is_generator(raw) if said is None else said)
