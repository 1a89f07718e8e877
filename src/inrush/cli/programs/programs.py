"""Finds a program by `FILE[::name]`, `-m module[::name]` or `-` (standard input): the module, its apps, and what of it
to run.

The file is imported under its own name, with its folder first on `sys.path`, exactly as a container imports it.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import click

from inrush.cli.screen.failures import ProgramError

if TYPE_CHECKING:
    from inrush import App


class Program(NamedTuple):
    """A loaded program. `wanted` is what stood behind `::`, or empty."""

    module: ModuleType
    target: str
    wanted: str

    def apps(self) -> dict[str, App]:
        """The apps that the module holds, by the name of their variable."""
        from inrush import App

        found: dict[str, App] = {}
        for name, value in vars(self.module).items():
            if isinstance(value, App) and all(value is not other for other in found.values()):
                found[name] = value
        return found

    def app(self) -> tuple[App, str]:
        """The app to run, and what of it to run: `wanted` without the app's variable."""
        apps = self.apps()
        first, _, rest = self.wanted.partition(".")
        if first in apps:
            return apps[first], rest
        if len(apps) == 1:
            return next(iter(apps.values())), self.wanted
        if "app" in apps:
            return apps["app"], self.wanted
        if not apps:
            raise click.UsageError(f"{self.target} holds no App; it needs a line such as: app = inrush.App('name')")
        raise click.UsageError(f"{self.target} holds several apps; say which: {_choices(self.target, apps)}")


def load(target: str, as_module: bool = False) -> Program:
    """Imports the program. Raises `ProgramError` when its own code raises, and a usage error when it is not there."""
    path, _, wanted = target.partition("::")
    if path.startswith("-") and path != "-":
        raise click.NoSuchOption(path)
    try:
        file = _from_input() if path == "-" else Path(path)
        module = _import_module(path) if as_module else _import_file(file)
    except click.ClickException:
        raise
    except BaseException as error:
        raise ProgramError(f"{path} could not be imported") from error
    return Program(module, path, wanted)


def _from_input() -> Path:
    """The program that comes by standard input, as a file that is there as long as this process."""
    folder = tempfile.mkdtemp(prefix="inrush-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder, "from_stdin.py")
    path.write_bytes(sys.stdin.buffer.read())
    return path


def _import_module(name: str) -> ModuleType:
    sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise click.UsageError(f"there is no module {name}, looking from {Path.cwd()}") from None
        raise


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "is not there"
        raise click.UsageError(f"{path} {what}; say which Python file: FILE, or FILE::NAME")
    path, name = path.resolve(), path.stem
    loaded = sys.modules.get(name)
    if loaded is not None or name in sys.stdlib_module_names:
        raise click.UsageError(f"a program called {path.name} would hide Python's own module {name!r}; rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise click.UsageError(f"{path} is not a Python file")
    sys.path.insert(0, str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _choices(target: str, names: object) -> str:
    return ", ".join(f"{target}::{name}" for name in names)  # type: ignore[attr-defined]
