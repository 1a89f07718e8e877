"""Images: a base and a list of steps, each of which is built once and kept.

An `Image` is a value: each method returns a new one. Local files are read when an app that uses the image starts. So
the same lines also run in the container, where those files do not exist.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from inrush.client import _checks, _ignore
from inrush.client._marks import raw_of
from inrush.client._missing import Suggests
from inrush.client._steps import (
    BuildStep,
    Definition,
    Files,
    existing,
    flat,
    need_visible,
    no_files,
    pip_options,
    refuse_volumes,
    requirement_files,
)
from inrush.client._unbuilt import UnbuiltSteps
from inrush.client.context import is_local
from inrush.client.secret import Secret
from inrush.errors import InvalidError, UnimplementedError
from inrush.version import PYTHON

if TYPE_CHECKING:
    from inrush.client._tar import Blob, Entry

P = ParamSpec("P")
T = TypeVar("T")

Env = Mapping[str, str | None]


class Image(UnbuiltSteps, Suggests):
    """What a function runs in, given to `@app.function(image=…)` or `App(image=…)`. Begin with `Image.debian_slim()` or
    `Image.host()`.

    Steps that take `env` or `secrets` see those variables while they run, and the image keeps neither.
    `force_build=True` rebuilds the step and all that follow. A step that fails raises `ImageBuildError` with the end of
    its output.
    """

    def __init__(
        self, base: str, python: str, steps: tuple[BuildStep, ...] = (), mounts: tuple[Files, ...] = ()
    ) -> None:
        self._base = base
        self._python = python
        self._steps = steps
        self._mounts = mounts
        self.missing_import: ImportError | None = None
        """In a container: the error that `imports` passed over. It fails the start of functions of this image."""

    def __repr__(self) -> str:
        return f"Image({self._base}{''.join(f', {step.kind}' for step in self._steps)})"

    # -- where an image begins --

    @staticmethod
    def debian_slim(python_version: str | None = None, force_build: bool = False) -> Image:
        """A small Debian with Python of this minor version (`"3.12"`), by default the version of this program. The
        build fails for a version that is not offered, and names those that are."""
        version = PYTHON if python_version is None else python_version
        if (
            not isinstance(version, str)
            or not version.startswith("3.")
            or not all(part.isdigit() for part in version.split("."))
        ):
            raise InvalidError(f'python_version is a minor version such as "3.12", not {python_version!r}')
        made = Image("debian_slim", ".".join(version.split(".")[:2]))
        return made._with("run", force=True, commands=["true"]) if force_build else made

    @staticmethod
    def host() -> Image:
        """The node's own system and Python, read-only, without the Python packages installed there. It needs no build,
        and functions without an image run in it."""
        return Image("host", "")

    # -- packages --

    def pip_install(
        self,
        *packages: str | Sequence[str],
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: Env | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: Any = None,
    ) -> Image:
        """Installs Python packages, as pip would: `pip_install("torch==2.4.0", "numpy")`.

        `extra_options` is added to the command line, and `pre` allows pre-releases. `find_links`, `index_url` and
        `extra_index_url` say where packages come from.
        """
        options = pip_options(find_links, index_url, extra_index_url, pre, extra_options)
        names = flat("pip_install", packages)
        if not names:
            return self
        return self._with("pip", env=env, secrets=secrets, gpu=gpu, force=force_build, packages=names, **options)

    def uv_pip_install(
        self,
        *packages: str | Sequence[str],
        requirements: Sequence[str] | None = None,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        uv_version: str | None = None,
        env: Env | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: Any = None,
    ) -> Image:
        """Installs Python packages with uv, whose own options go into `extra_options`. `requirements` are paths of
        local requirements files."""
        if uv_version is not None:
            raise UnimplementedError("uv_pip_install(uv_version=…) is not built: the node's uv is used")
        options = pip_options(find_links, index_url, extra_index_url, pre, extra_options)
        names = flat("uv_pip_install", packages)
        if not names and not requirements:
            return self
        files = requirement_files(requirements or ())
        return self._with(
            "pip", files, env=env, secrets=secrets, gpu=gpu, force=force_build, packages=names, uv=True, **options
        )

    def pip_install_from_requirements(
        self,
        requirements_txt: str | Path,
        find_links: str | None = None,
        *,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: Env | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: Any = None,
    ) -> Image:
        """Installs the Python packages that a local requirements file names."""
        options = pip_options(find_links, index_url, extra_index_url, pre, extra_options)
        files = requirement_files([requirements_txt])
        return self._with("pip", files, env=env, secrets=secrets, gpu=gpu, force=force_build, **options)

    def apt_install(
        self,
        *packages: str | Sequence[str],
        force_build: bool = False,
        env: Env | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: Any = None,
    ) -> Image:
        """Installs Debian packages: `apt_install("ffmpeg", "git")`."""
        names = flat("apt_install", packages)
        if not names:
            return self
        return self._with("apt", env=env, secrets=secrets, gpu=gpu, force=force_build, packages=names)

    # -- anything else --

    def run_commands(
        self,
        *commands: str | Sequence[str],
        env: Env | None = None,
        secrets: Collection[Secret] | None = None,
        volumes: Mapping[Any, Any] | None = None,
        gpu: Any = None,
        force_build: bool = False,
    ) -> Image:
        """Runs shell commands in order, as one step. The first command that fails ends it."""
        refuse_volumes("run_commands", volumes)
        lines = flat("run_commands", commands)
        if not lines:
            return self
        return self._with("run", env=env, secrets=secrets, gpu=gpu, force=force_build, commands=lines)

    def run_function(
        self,
        raw_f: Callable[..., Any],
        *,
        env: Env | None = None,
        secrets: Collection[Secret] | None = None,
        volumes: Mapping[Any, Any] | None = None,
        network_file_systems: Mapping[Any, Any] | None = None,
        gpu: Any = None,
        cpu: float | None = None,
        memory: int | None = None,
        timeout: float = 3600,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        force_build: bool = False,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        include_source: bool = True,
    ) -> Image:
        """Runs a Python function in the image and keeps what it leaves on disk, such as downloaded weights.

        `timeout` is in seconds. The function runs again when its code, its arguments or the steps before it change.
        """
        _checks.seconds("Image.run_function: timeout", timeout)
        refuse_volumes("run_function", volumes or network_file_systems)
        for name, value in {"cpu": cpu, "memory": memory, "cloud": cloud, "region": region}.items():
            if value is not None:
                raise UnimplementedError(
                    f"run_function({name}=…) is not built: builds run on the node with what it has"
                )
        function = raw_of(getattr(raw_f, "raw", None) or raw_f)
        if not callable(function):
            raise InvalidError(f"run_function takes a function, not {raw_f!r}")

        def files() -> list[tuple[str, Blob]]:
            from inrush.client._source import pack_function

            return pack_function(function, tuple(args), dict(kwargs or {}), include_source)

        return self._with(
            "function",
            files,
            env=env,
            secrets=secrets,
            gpu=gpu,
            force=force_build,
            name=f"{function.__module__}.{function.__qualname__}",
            timeout_s=timeout,
        )

    def env(self, vars: Mapping[str, str]) -> Image:
        """Sets environment variables for later steps and for containers."""
        for key, value in vars.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise InvalidError(f"Image.env maps names to strings, not {key!r} to {value!r}")
        return self._with("env", variables=dict(vars))

    def workdir(self, path: str | PurePosixPath) -> Image:
        """Sets the working directory, an absolute path, for later steps and for containers."""
        if not PurePosixPath(path).is_absolute():
            raise InvalidError(f"Image.workdir takes an absolute path, not {str(path)!r}")
        return self._with("workdir", path=str(path))

    # -- local files --

    def add_local_file(self, local_path: str | Path, remote_path: str, *, copy: bool = False) -> Image:
        """Puts a local file at an absolute path; a path that ends with / is a folder for it.

        By default the file is laid over the image when a container starts, so that changing it rebuilds nothing, and no
        step can follow. With `copy=True` it becomes a step of the image.
        """
        target = remote_path + Path(local_path).name if remote_path.endswith("/") else remote_path
        need_visible("add_local_file", target, self._base)
        return self._add(f"{local_path} -> {target}", copy, lambda: [(target, existing(local_path, False))])

    def add_local_dir(
        self, local_path: str | Path, remote_path: str, *, copy: bool = False, ignore: _ignore.Pattern = ()
    ) -> Image:
        """Puts the contents of a local folder at an absolute path. `ignore` holds patterns as in a .dockerignore file,
        or is a function of the path; `copy` is as for `add_local_file`."""
        need_visible("add_local_dir", remote_path, self._base)
        skip = _ignore.ignore(ignore)

        def found() -> list[tuple[str, Entry]]:
            from inrush.client._tar import tree

            return tree(existing(local_path, True), remote_path, skip)

        return self._add(f"{local_path} -> {remote_path}", copy, found)

    def add_local_python_source(
        self, *modules: str, copy: bool = False, ignore: _ignore.Pattern = _ignore.not_python
    ) -> Image:
        """Makes local modules or packages, by name, importable in the container. Modules that the program itself
        imports are sent without it.

        Only .py files are sent by default; `ignore` and `copy` are as for `add_local_dir`.
        """
        if not modules or not all(isinstance(m, str) for m in modules):
            raise InvalidError("add_local_python_source takes names of modules")
        skip = _ignore.ignore(ignore)

        def found() -> list[tuple[str, Entry]]:
            from inrush.client._source import package_files

            return [pair for module in modules for pair in package_files(module, skip)]

        return self._add(f"Python source of {', '.join(modules)}", copy, found)

    # -- using it --

    @contextlib.contextmanager
    def imports(self) -> Iterator[None]:
        """Guards imports at the top of a program that only the image can do: `with image.imports(): import torch`.

        An ImportError in the block is passed over here and in containers of other images. In a container of this image
        it is an error.
        """
        try:
            yield
        except ImportError as error:
            if not is_local():
                self.missing_import = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)

    def pipe(self, func: Callable[Concatenate[Image, P], Image], *args: P.args, **kwargs: P.kwargs) -> Image:
        """Calls a function on the image, for chains: `image.pipe(f, x)` is `f(image, x)`."""
        return func(self, *args, **kwargs)

    def definition(self) -> Definition:
        """Reads the image's local files and returns what the server has to know. Raises `InvalidError` for a file that
        is not there."""
        from inrush.wire import Recipe, Step

        steps: list[Step] = []
        blobs: list[Blob] = []
        secrets: dict[Secret, None] = {}
        for step in self._steps:
            files = step.files()
            blobs += [blob for _, blob in files]
            secrets.update(dict.fromkeys(step.secrets))
            steps.append(
                Step(
                    kind=step.kind,
                    args=(step.argument,),
                    files=tuple((label, blob.id) for label, blob in files),
                    secrets=tuple(sorted(key for secret in step.secrets for key in secret.keys)),
                    force=step.force,
                )
            )
        mounts = tuple(blob for mount in self._mounts for _, blob in mount())
        recipe = Recipe(base=self._base, python=self._python, steps=tuple(steps))
        return Definition(recipe, (*blobs, *mounts), tuple(secrets), mounts)

    # -- inside --

    def _with(
        self,
        kind: str,
        files: Files = no_files,
        *,
        env: Env | None = None,
        secrets: Collection[Secret] | None = None,
        gpu: Any = None,
        force: bool = False,
        **parameters: Any,
    ) -> Image:
        if gpu is not None:
            raise UnimplementedError("gpu= on a step of an image is not built: do it in an @inrush.enter() method")
        if self._mounts:
            raise InvalidError(
                "local files that are laid over the image come last; "
                "put copy=True on those, or move them below this step"
            )
        for secret in secrets or ():
            if not secret.keys:
                raise InvalidError(
                    f"{secret!r} in a step of an image needs required_keys: a step may read the variables that it names"
                )
        given = (*(secrets or ()), *((Secret.from_dict(env),) if env else ()))
        from inrush.core.images import layers

        step = BuildStep(kind, layers.encode(kind, **parameters), files, given, force)
        return Image(self._base, self._python, (*self._steps, step))

    def _add(self, name: str, copy: bool, found: Callable[[], Sequence[tuple[str, Entry]]]) -> Image:
        def files() -> list[tuple[str, Blob]]:
            from inrush.client._tar import pack

            return [(name, pack(found()))]

        if copy:
            return self._with("copy", files, name=name)
        return Image(self._base, self._python, self._steps, (*self._mounts, files))
