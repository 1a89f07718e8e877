"""The program that each kind of build step runs, with its arguments, files and variables.

Packages go in by `uv`, which is many times faster than pip; options that uv does not know lead to the image's own pip.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inrush.agent.images import call
from inrush.agent.images.base import Base
from inrush.agent.images.packages import BUILD
from inrush.core.images import layers
from inrush.errors import ImageBuildError, InvalidError
from inrush.launcher.specs import Bind
from inrush.wire import Step

UV = f"{BUILD}/uv"
CACHE = f"{BUILD}/cache"
FILES = f"{BUILD}/files"

_SHARED_OPTIONS = {
    "--no-deps": 0,
    "--pre": 0,
    "--upgrade": 0,
    "-U": 0,
    "--force-reinstall": 0,
    "--no-build-isolation": 0,
    "--no-index": 0,
    "--require-hashes": 0,
    "--no-cache-dir": 0,
    "--quiet": 0,
    "-q": 0,
    "--verbose": 0,
    "-v": 0,
    "--editable": 1,
    "-e": 1,
    "--no-binary": 1,
    "--only-binary": 1,
    "--constraint": 1,
    "-c": 1,
    "--index-url": 1,
    "-i": 1,
    "--extra-index-url": 1,
    "--find-links": 1,
    "-f": 1,
    "--trusted-host": 1,
    "--upgrade-package": 1,
}
"""Options with the same meaning in pip and `uv pip`, and the number of values that each takes."""

_APT = """
mkdir -p CACHE/lists/partial CACHE/archives/partial
set -- -o Dir::State::lists=CACHE/lists -o Dir::Cache::archives=CACHE/archives -- "$@"
apt-get --quiet -o Dir::State::lists=CACHE/lists update
apt-get --quiet install --yes --no-install-recommends "$@"
rm -rf /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /var/lib/dpkg/*-old
"""


@dataclass(frozen=True, slots=True)
class Program:
    """The program of a step, and what it needs in addition to what every build gets."""

    argv: tuple[str, ...]
    binds: tuple[Bind, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float | None = None
    needs_runtime: bool = False


def program(step: Step, base: Base, files: Mapping[str, Sequence[Path]]) -> Program:
    """Returns the program of a `pip`, `apt`, `run` or `function` step. `files` are its blobs as files, by label."""
    given = layers.parameters(step)
    match step.kind:
        case "pip":
            return _pip(given, base, files)
        case "apt":
            return _apt(given, base)
        case "run":
            return Program(_shell("\n".join(given["commands"])))
        case "function":
            return _function(given, base, files)
    raise InvalidError(f"image step {step.kind!r} runs no program")


def _pip(given: Mapping[str, Any], base: Base, files: Mapping[str, Sequence[Path]]) -> Program:
    extra = shlex.split(given["extra_options"])
    requirements = [path for paths in files.values() for path in paths]
    binds = tuple(Bind(str(path), f"{FILES}/{n}-requirements.txt") for n, path in enumerate(requirements))
    arguments = [*_sources(given), *extra, *(f"--requirement={bind.dst}" for bind in binds), "--", *given["packages"]]
    if not given["packages"] and not binds:
        raise InvalidError("image step 'pip' names no package")
    if given["uv"] or understood_by_uv(extra):
        return Program((UV, "pip", "install", "--python", base.python, *arguments), binds)
    script = (
        f'{base.python} -m pip --version >/dev/null 2>&1 || {UV} pip install -q --python {base.python} pip\nexec "$@"'
    )
    return Program((*_shell(script), "sh", base.python, "-m", "pip", "install", *arguments), binds)


def _sources(given: Mapping[str, Any]) -> list[str]:
    found = [f"--index-url={given['index_url']}"] if given["index_url"] else []
    found += [f"--extra-index-url={url}" for url in given["extra_index_url"]]
    found += [f"--find-links={place}" for place in given["find_links"]]
    return found + (["--pre"] if given["pre"] else [])


def understood_by_uv(options: Sequence[str]) -> bool:
    """Whether `uv pip install` takes all of these options of pip with the same meaning."""
    values = 0
    for option in options:
        if values:
            values -= 1
            continue
        name, _, value = option.partition("=")
        if name not in _SHARED_OPTIONS:
            return False
        values = 0 if value else _SHARED_OPTIONS[name]
    return values == 0


def _apt(given: Mapping[str, Any], base: Base) -> Program:
    if not base.release:
        raise ImageBuildError(
            "packages of Debian cannot be installed into Image.host(): its /usr is the node's, read-only. Install them "
            "on the node, or use Image.debian_slim()"
        )
    if not given["packages"]:
        raise InvalidError("image step 'apt' names no package")
    return Program((*_shell(_APT.replace("CACHE", f"{CACHE}/apt-{base.release}")), "sh", *given["packages"]))


def _function(given: Mapping[str, Any], base: Base, files: Mapping[str, Sequence[Path]]) -> Program:
    pickles = files.get("function", ())
    if len(pickles) != 1:
        raise InvalidError("image step 'function' needs exactly one file, called 'function'")
    binds = (Bind(str(pickles[0]), f"{FILES}/function"), Bind(call.__file__, f"{FILES}/call.py"))
    argv = (base.python, f"{FILES}/call.py", f"{FILES}/function")
    return Program(argv, binds, {"INRUSH_IS_REMOTE": "1"}, float(given["timeout_s"]), needs_runtime=True)


def _shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-e", "-c", script)
