"""App: a named bundle of functions and classes, which runs for the time of a block or is deployed to stay."""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, Unpack, dataclass_transform

from inrush.client import _checks
from inrush.client._dual import dual, dual_scope
from inrush.client._link import current
from inrush.client._marks import Mark, mark_of, raw_of
from inrush.client._methods import FunctionDecorator
from inrush.client._missing import Suggests
from inrush.client._parameter import parameter
from inrush.client._unbuilt import refuse
from inrush.client.image import Image
from inrush.client.secret import Secret
from inrush.errors import InvalidError, UnimplementedError

if TYPE_CHECKING:
    from inrush.client._options import FunctionOptions
    from inrush.client._running import Running
    from inrush.client.cls import Cls
    from inrush.client.entrypoint import LocalEntrypoint
    from inrush.client.function import Function

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

STRATEGIES = ("rolling", "recreate")


class App(Suggests):
    """A named bundle of functions and classes: `app = inrush.App("name")`, then `@app.function()` and `@app.cls()`.

    `tags` are labels for people. `image` is used by functions that name none, and `secrets` are given to all functions,
    before their own. With `include_source=False` the program's files are not sent, so the image has to hold them. An
    app without a name takes the name of its program.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        image: Image | None = None,
        secrets: Sequence[Secret] = (),
        volumes: Mapping[Any, Any] | None = None,
        include_source: bool = True,
    ) -> None:
        if name is not None and (not isinstance(name, str) or not _is_name(name)):
            raise InvalidError(
                f"an app's name has up to 64 letters, digits, dashes, dots and underscores, not {name!r}"
            )
        if volumes:
            raise UnimplementedError("App(volumes=…) is not built yet: put files into the image, or use a Dict")
        if image is not None and not isinstance(image, Image):
            raise InvalidError(f"App(image=…) takes an inrush.Image, not {image!r}")
        if isinstance(secrets, Secret) or not all(isinstance(secret, Secret) for secret in secrets):
            raise InvalidError(f"App(secrets=…) takes a list of inrush.Secret, not {secrets!r}")
        self.name = name
        self.tags = _checks.strings("App: tags", tags)
        self.image = image
        self.secrets = tuple(secrets)
        self.include_source = include_source
        self._functions: dict[str, Function[..., Any, Any]] = {}
        self._classes: dict[str, Cls] = {}
        self._entrypoints: dict[str, LocalEntrypoint[..., Any]] = {}
        self._running: Running | None = None
        self._environment = ""  # where it was looked up

    def __repr__(self) -> str:
        return f"App({self.name!r})"

    # -- declaring --

    def function(
        self,
        _used_bare: object = None,
        /,
        *,
        name: str | None = None,
        is_generator: bool | None = None,
        schedule: Any = None,
        **options: Unpack[FunctionOptions],
    ) -> FunctionDecorator:
        """Makes a function one that runs in containers: `f.remote(…)`, `f.map(…)`, `f.spawn(…)`.

        What it runs in: `image` (default: the app's, else `Image.host()`), `env` (variables), `secrets`, `gpu`
        (`"A10G"`, `"A100:2"`, `"A100:0.5"` for turns on one that others use too, `"any"`, or a list in order of
        preference), `cpu` (cores, default 0.125, or `(request, limit)`), `memory` (MiB, default 64, or `(request,
        limit)`), `ephemeral_disk` (MiB), `cloud`, `region`, `node_labels` (a dict), `nonpreemptible` (never has to go
        for others), `block_network` (no network), `restrict_access` (no calls from inside),
        `enable_memory_snapshot` (start containers from a copy of memory after imports and `@enter(snap=True)`).

        How many: `min_containers` (default 0), `max_containers`, `buffer_containers` (more than needed while active),
        `scaledown_window` (the longest an idle container stays, seconds, default 60), `single_use_containers` (one
        input each), `priority` (higher goes first, and has lower ones make way; default 0). How many inputs one
        container runs at once: `@concurrent` or `concurrency_limit`.

        How long: `timeout` (seconds an attempt, default 300, up to 24 h), `startup_timeout` (imports and hooks, default
        `timeout`), `retries` (a number, or `Retries`).

        How it gets there: `name`, `serialized` (by value, for notebooks and nested functions), `include_source`,
        `is_generator`.

        Older names are understood: `keep_warm`, `container_idle_timeout`, `allow_concurrent_inputs`. Raises
        `InvalidError` for a value that cannot be, and `UnimplementedError` for a parameter that is known but not built.
        """
        if _used_bare is not None:
            raise InvalidError("write @app.function() with parentheses")
        given: dict[str, Any] = {**options, "schedule": schedule}
        return FunctionDecorator(functools.partial(self._add_function, name, is_generator, given))

    @dataclass_transform(field_specifiers=(parameter,), kw_only_default=True)
    def cls(self, _used_bare: object = None, /, **options: Unpack[FunctionOptions]) -> Callable[[C], C]:
        """Makes a class one whose objects live in containers: `Model().generate.remote(…)`.

        It takes what `function` takes. Methods that are called from outside carry `@inrush.method()`, a method that
        runs once in each container carries `@inrush.enter()`, and `inrush.parameter()` declares the values by which
        variants of the class differ. An `__init__` with arguments works, with a warning.
        """
        if _used_bare is not None:
            raise InvalidError("write @app.cls() with parentheses")
        return functools.partial(self._add_class, dict(options))

    def local_entrypoint(
        self, _used_bare: object = None, /, *, name: str | None = None
    ) -> Callable[[Callable[P, R]], LocalEntrypoint[P, R]]:
        """Marks the function that `inrush run FILE` calls here while the app runs; its parameters become options."""
        if _used_bare is not None:
            raise InvalidError("write @app.local_entrypoint() with parentheses")

        from inrush.client.entrypoint import LocalEntrypoint

        def add(function: Callable[P, R]) -> LocalEntrypoint[P, R]:
            made = LocalEntrypoint(function, self, name)
            self._entrypoints[made.name] = made
            return made

        return add

    def include(self, other_app: App, /, inherit_tags: bool = True) -> App:
        """Adds another app's functions and classes; of a name that both have, the other app's is taken, with a
        warning."""
        for name in {**other_app._functions, **other_app._classes}:
            mine = self._functions.pop(name, None) or self._classes.pop(name, None)
            if mine is not None and mine not in (other_app._functions.get(name), other_app._classes.get(name)):
                warnings.warn(f"{self!r} has a {name} already; that of {other_app!r} takes its place", stacklevel=2)
        self._functions.update(other_app._functions)
        self._classes.update(other_app._classes)
        if inherit_tags:
            self.tags = {**other_app.tags, **self.tags}
        return self

    # -- running --

    @dual_scope
    async def run(
        self,
        *,
        name: str | None = None,
        client: Any = None,
        detach: bool = False,
        interactive: bool = False,
        environment_name: str | None = None,
    ) -> AsyncGenerator[App, None]:
        """Runs the app for the time of a block: `with app.run():`, or `async with app.run():`.

        The app runs in the environment that is named here, else in the one of the settings or the token, else in
        `main`. Running builds the app's images and sends its code. At the end of the block, or of this process, its
        calls are cancelled and its containers stopped, unless `detach` is given. Raises `ImageBuildError` for an image
        that does not build, and `InvalidError` for what no node can run.
        """
        refuse(client)
        if interactive:
            from inrush.client._output import need_person

            need_person()
        if self._running is not None:
            raise InvalidError(f"{self!r} runs already")
        from inrush.client import _running

        there = _checks.environment_of(environment_name)
        self._running = await _running.start(self, await current(), name or self.name or "", there, detach=detach)
        hurried = False
        try:
            yield self
        except BaseException as error:
            hurried = not isinstance(error, Exception | SystemExit)
            raise
        finally:
            running, self._running = self._running, None
            if running is not None:
                await running.end(stop=not detach, at_once=hurried)

    @dual
    async def deploy(
        self,
        *,
        name: str | None = None,
        environment_name: str | None = None,
        tag: str = "",
        client: Any = None,
        strategy: str = "rolling",
    ) -> App:
        """Deploys the app under its name into an environment, where it replaces an older version, and returns it.

        The new version takes the traffic once a container of each function that it changes is ready. If one does not
        start, the old version serves on, and this raises `StartupError` with the last lines of the container's log.
        With the strategy `"rolling"` containers of the old version finish what they run; with `"recreate"` they are
        stopped. `tag` is a name for this version, which `inrush app history` shows.
        """
        refuse(client)
        if not _checks.is_text(tag):
            raise InvalidError(f"deploy: tag is a string, not {tag!r}")
        if strategy not in STRATEGIES:
            raise InvalidError(f"deploy: strategy is one of {', '.join(STRATEGIES)}, not {strategy!r}")
        named = name or self.name
        if not named:
            raise InvalidError("an app to be deployed has a name: inrush.App('name'), or deploy(name='…')")
        from inrush.client import _running

        there = _checks.environment_of(environment_name)
        self._running = await _running.start(
            self, await current(), named, there, deploy=True, strategy=strategy, tag=tag
        )
        return self

    @staticmethod
    def lookup(
        name: str, *, client: Any = None, environment_name: str | None = None, create_if_missing: bool = False
    ) -> App:
        """The running or deployed app of this name (or id), to stop it. Raises `NotFoundError`."""
        refuse(client)
        if create_if_missing:
            raise UnimplementedError("App.lookup(create_if_missing=True) is not built yet: deploy an app of that name")
        made = App(name)
        made._environment = _checks.environment_of(environment_name)
        made._find()
        return made

    @dual
    async def _find(self) -> None:
        from inrush.wire import FollowLogs

        await (await current()).ask(FollowLogs(self.name or "", 0, False, self._environment))

    @dual
    async def stop(self, *, client: Any = None) -> None:
        """Ends the app, deployed or not: cancels its calls and lets its containers finish within their grace."""
        refuse(client)
        from inrush.wire import StopApp

        running, self._running = self._running, None
        if running is not None:
            await running.end(stop=True)
        elif self.name:
            link = await current()
            await link.ask(StopApp(self.name, self._environment))
        else:
            raise InvalidError("an app without a name that does not run cannot be stopped")

    # -- looking --

    @property
    def app_id(self) -> str | None:
        """The app's id (`ap-…`) while it runs here, or after it was deployed from here; else None."""
        return self._running.id if self._running is not None else None

    @property
    def description(self) -> str | None:
        """The app's name."""
        return self.name

    @property
    def urls(self) -> dict[str, str]:
        """URLs of the app's endpoints by `function` or `Class.method`, once it runs here or was deployed from here."""
        return dict(self._running.urls) if self._running is not None else {}

    @property
    def pages(self) -> dict[str, str]:
        """The same by host name: in browsers each endpoint has an origin of its own."""
        return dict(self._running.pages) if self._running is not None else {}

    @property
    def registered_functions(self) -> dict[str, Function[..., Any, Any]]:
        """The app's functions by name."""
        return dict(self._functions)

    @property
    def registered_classes(self) -> dict[str, Cls]:
        """The app's classes by name."""
        return dict(self._classes)

    @property
    def registered_entrypoints(self) -> dict[str, LocalEntrypoint[..., Any]]:
        """The app's local entrypoints by name."""
        return dict(self._entrypoints)

    @property
    def registered_web_endpoints(self) -> list[str]:
        """Names of the app's endpoints: `function`, or `Class.method`."""
        functions = [name for name, f in self._functions.items() if f.mark.web]
        return functions + [
            f"{c.name}.{m}" for c in self._classes.values() for m, mark in c.methods.items() if mark.web
        ]

    def server(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError(
            "@app.server is not built yet: serve an ASGI app with @app.function() and @inrush.asgi_app()"
        )

    def set_tags(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Not built yet."""
        raise UnimplementedError("changing tags of a running app is not built yet: give App(tags=…) and deploy again")

    get_tags = set_tags

    # -- inside --

    def _add_function(
        self, name: str | None, generator: bool | None, options: dict[str, Any], given: Any
    ) -> Function[..., Any, Any]:
        from inrush.client import _options
        from inrush.client._reference import Reference
        from inrush.client.cls import Cls
        from inrush.client.entrypoint import LocalEntrypoint
        from inrush.client.function import Function, mark_generator

        raw = raw_of(given)
        if isinstance(given, LocalEntrypoint):
            raise InvalidError(f"{given.name} is a local entrypoint, which runs here; a function is one of its own")
        if isinstance(given, type | Cls):
            raise InvalidError(f"@app.function decorates functions; for a class use @app.cls(): {given!r}")
        if isinstance(given, Function) or not callable(raw) or not hasattr(raw, "__qualname__"):
            raise InvalidError(f"@app.function decorates a plain function, once; not {given!r}")
        if _is_method(raw):
            raise InvalidError(
                f"{raw.__qualname__} is a method: decorate its class with @app.cls() and it with @inrush.method()"
            )
        title = name or raw.__name__
        mark = mark_generator(mark_of(given), raw, generator)
        _refuse_marks_of_methods(title, mark)
        parsed = _options.parse(title, options, mark)
        if parsed.retries.max_retries and (mark.web or mark.is_generator):
            raise InvalidError(
                f"{title}: retries are for functions that return, and this one "
                f"{'yields' if mark.is_generator else 'serves the web'}"
            )
        made: Function[..., Any, Any] = Function(
            title, raw, Reference(self.name or "", title, foreign=False), app=self, options=parsed, mark=mark
        )
        self._taken(title)
        _options.warn_of_no_snapshot(title, parsed, 4)
        self._functions[title] = made
        return made

    def _add_class(self, options: dict[str, Any], given: Any) -> Any:
        if not isinstance(given, type):
            raise InvalidError(f"@app.cls decorates a class, once; not {given!r}")
        from inrush.client import _options
        from inrush.client._reference import Reference
        from inrush.client.cls import Cls

        parsed = _options.parse(given.__name__, options, vars(given).get("__inrush__") or mark_of(None))
        reference = Reference(self.name or "", given.__name__, foreign=False)
        self._taken(given.__name__)
        _options.warn_of_no_snapshot(given.__name__, parsed, 4)
        made = self._classes[given.__name__] = Cls(given.__name__, given, reference, app=self, options=parsed)
        return made

    def _taken(self, name: str) -> None:
        if not isinstance(name, str) or not _is_name(name) or "." in name:
            raise InvalidError(f"a function's name has up to 64 letters, digits, dashes and underscores, not {name!r}")
        if name in self._functions or name in self._classes:
            warnings.warn(f"{self!r} has a {name} already; this one takes its place", stacklevel=4)


def _is_method(raw: Any) -> bool:
    """Whether a function is defined in the body of a class and takes self."""
    nested = "." in raw.__qualname__.rpartition("<locals>.")[2]
    return nested and isinstance(raw, types.FunctionType) and raw.__code__.co_varnames[:1] == ("self",)


def _refuse_marks_of_methods(title: str, mark: Mark) -> None:
    """What means something in a class alone."""
    wrong = "enter" if mark.enter else "exit" if mark.exit else "method" if mark.method and mark.web is None else ""
    if wrong:
        raise InvalidError(f"@{wrong} has no effect on the function {title}: it is for methods of an @app.cls() class")


def _is_name(name: str) -> bool:
    return 0 < len(name) <= 64 and all(c.isalnum() or c in "-_." for c in name)
