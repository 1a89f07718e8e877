"""A program's own code, as the container needs it: the file that defines a function, and the local modules that it
imports.

Imports are read from the syntax tree, so those inside functions count too and nothing is run. A module is local when it
is found on a part of `sys.path` that belongs neither to Python itself nor to installed packages. Of a local package all
Python files go along.
"""

from __future__ import annotations

import ast
import functools
import importlib.machinery
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from inrush import by_value
from inrush.client._payload import main_name
from inrush.client._tar import Blob, Entry, pack
from inrush.errors import InvalidError

ROOT = "root"
_LIMIT_FILES = 5000
_OWN = "inrush"


class Place(NamedTuple):
    """Where code is defined: the name under which a container imports it; an empty one where it must be sent by
    value."""

    module: str
    file: Path | None


def place(thing: Callable[..., Any]) -> Place:
    """Where a function or class is defined."""
    module = sys.modules.get(thing.__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None or not Path(file).is_file():
        return Place("", None)
    if thing.__module__ != "__main__":
        return Place(thing.__module__, Path(file).resolve())
    name = main_name()
    sys.modules.setdefault(name, module)  # what comes back from containers by that name is then what is defined here
    return Place(name, Path(file).resolve())


def pack_source(where: Place) -> Blob | None:
    """The tar for `/`, or None where the code belongs to an installed package, which the image has to hold."""
    assert where.file is not None
    if any(_is_below(where.file, Path(prefix)) for prefix in _installed()):
        return None
    return pack(_files(where, _roots()).items())


def _roots() -> list[Path]:
    """Folders in which local modules are looked for, without those that `pip install --target` filled."""
    folders = [folder for folder in map(_folder, sys.path) if folder is not None]
    return [folder for folder in folders if not any(folder.glob("*.dist-info"))]


def _files(where: Place, roots: list[Path]) -> dict[str, Path]:
    """Names in the container, and files, of the program and of what it imports."""
    assert where.file is not None
    roots = [_top_folder(where), *roots]
    found: dict[str, Path] = {}
    todo = [where.module.partition(".")[0]]
    seen: set[str] = {_OWN}
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        files = _module(name, roots, where)
        found.update(files)
        if len(found) > _LIMIT_FILES:
            raise InvalidError(
                f"{name} and what it imports are more than {_LIMIT_FILES} files; install it in the image instead"
            )
        for file in files.values():
            todo += [n for n in _imports(file, file.stat().st_mtime_ns) if n not in seen]
    return found


def _module(name: str, roots: list[Path], where: Place) -> dict[str, Path]:
    """Files of a top-level module or package, if it is local."""
    if name == where.module and where.file is not None and where.file.name != "__init__.py":
        return {f"{ROOT}/{name}.py": where.file}
    spec = importlib.machinery.PathFinder.find_spec(name, [str(root) for root in roots])
    if spec is None or name in sys.stdlib_module_names:
        return {}
    if spec.submodule_search_locations is None:
        origin = Path(spec.origin or "")
        return {f"{ROOT}/{origin.name}": origin} if origin.suffix == ".py" else {}
    return {
        f"{ROOT}/{name}/{file.relative_to(folder).as_posix()}": file
        for folder in map(Path, spec.submodule_search_locations)
        for file in _python_files(folder)
    }


def _python_files(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.name.startswith(".") and entry.name != "__pycache__":
            yield from _python_files(entry)
        elif entry.suffix == ".py" and entry.is_file():
            yield entry


@functools.lru_cache(2 * _LIMIT_FILES)
def _imports(file: Path, changed_ns: int) -> frozenset[str]:
    """Top-level names that a file imports, anywhere in it. Functions of one program import much the same files, each
    of which is read once for as long as it does not change."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.partition(".")[0])
    return frozenset(names)


def _top_folder(where: Place) -> Path:
    """The folder that is on `sys.path` for this module to have its name."""
    assert where.file is not None
    ups = where.module.count(".") + (where.file.name == "__init__.py")
    return where.file.parents[ups]


def _folder(entry: str) -> Path | None:
    """An entry of `sys.path`, if it is a local one."""
    folder = Path(entry or ".").resolve()
    if not folder.is_dir() or any(_is_below(folder, Path(prefix)) for prefix in _installed()):
        return None
    return folder


@functools.cache
def _installed() -> tuple[str, ...]:
    """Folders of Python itself and of installed packages."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    found = {str(Path(path).resolve()) for name in names if (path := sysconfig.get_paths().get(name))}
    found |= {
        str(Path(entry).resolve())
        for entry in sys.path
        if entry.rstrip("/").endswith(("site-packages", "dist-packages"))
    }
    return tuple(sorted(found))


def _is_below(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def package_files(name: str, ignore: Callable[[Path], bool]) -> list[tuple[str, Entry]]:
    """A local module or package by name, for `add_local_python_source`: everything in its folder but what is
    ignored."""
    spec = importlib.machinery.PathFinder.find_spec(name, sys.path)
    if spec is None:
        raise InvalidError(f"add_local_python_source: there is no module {name!r} on sys.path")
    if spec.submodule_search_locations is None:
        origin = Path(spec.origin or "")
        return [(f"{ROOT}/{origin.name}", origin)]
    from inrush.client._tar import tree

    return [pair for folder in spec.submodule_search_locations for pair in tree(Path(folder), f"{ROOT}/{name}", ignore)]


def pack_function(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], include_source: bool
) -> list[tuple[str, Blob]]:
    """The files of a `run_function` step. The function goes by value, so that editing its file elsewhere does not
    run it again; the local modules that the file imports go along as they are."""
    import cloudpickle

    where = place(function)
    module = sys.modules.get(function.__module__)
    apart = module is not None and where.module != "" and function.__module__ != "__main__"
    if apart:
        cloudpickle.register_pickle_by_value(module)
    try:
        pickled = Blob(by_value.dumps((function, args, kwargs)))
    finally:
        if apart:
            cloudpickle.unregister_pickle_by_value(module)
    files = [("function", pickled)]
    if include_source and where.file is not None:
        others = {name: file for name, file in _files(where, _roots()).items() if file != where.file}
        if others:
            files.append(("source", pack(others.items())))
    return files
