"""What the platform can download for a step by itself, without running anything that user code wrote.

Only names and versions of packages are taken from the step, and indexes by their URL: no path, no archive by its own
address, no option that would build a package, trust another certificate or read another file. Whatever else a step
asks for, its build downloads for itself alone.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inrush.agent.images.base import Base
from inrush.agent.images.steps import CACHE, UV
from inrush.core.images import layers
from inrush.wire import Step

MAX_REQUIREMENTS_BYTES = 1 << 20
"""The size of a requirements file that the platform reads. The build itself downloads what a larger file lists."""

_VERSIONS = r"(?: *(?:===|==|~=|!=|<=|>=|<|>) *[A-Za-z0-9.*+!_-]+ *,?)*"
_REQUIREMENT = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])? *"
    r"(\[[A-Za-z0-9._, -]*\])?"
    rf"(?:{_VERSIONS}| *\({_VERSIONS}\)) *"
    r"(?:;[A-Za-z0-9_.'\"<>=!~() ,*+-]*)?"
)
"""Matches a requirement of one line: a name, extras, versions and a marker, but no option, path or URL."""
_HASH = re.compile(r"\s--hash[= ][A-Za-z0-9:]+")
_DEBIAN_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?(/[a-z0-9-]+)?")
_OPTIONS = {"--no-deps", "--pre", "--upgrade", "-U", "--quiet", "-q", "--verbose", "-v", "--require-hashes"}
_PASSED_ON = ("--no-deps", "--pre", "--upgrade", "-U")

# Symbolic links instead of copies: what counts is the cache. It lies in a tmpfs, and goes with the container.
_PIP = f"""
printf '%s\\n' "$EARLIER" > /tmp/earlier.txt
exec {UV} pip install --no-build --target /tmp/fetched --link-mode symlink --constraint /tmp/earlier.txt "$@"
"""
_APT = """
mkdir -p CACHE/lists/partial CACHE/archives/partial
set -- -o Dir::State::lists=CACHE/lists -o Dir::Cache::archives=CACHE/archives -- "$@"
apt-get --quiet -o Dir::State::lists=CACHE/lists update
apt-get --quiet install --yes --download-only --no-install-recommends "$@"
"""


@dataclass(frozen=True, slots=True)
class Fetch:
    """A download: the program, its variables, and where below `CACHE` something new stands if there is any."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    news: str


def fetch(step: Step, earlier: Sequence[Step], base: Base, files: Mapping[str, Sequence[Path]]) -> Fetch | None:
    """The download for `step`, after `earlier` steps of its image; None if the build itself has to download."""
    if step.kind == "pip":
        return _pip(step, earlier, base, files)
    given = layers.parameters(step)
    if step.kind == "apt" and base.release and all(_DEBIAN_PACKAGE.fullmatch(name) for name in given["packages"]):
        place = f"apt-{base.release}"
        argv = ("/bin/sh", "-e", "-c", _APT.replace("CACHE", f"{CACHE}/{place}"), "sh", *given["packages"])
        return Fetch(argv, {}, f"{place}/archives")
    return None


def _pip(step: Step, earlier: Sequence[Step], base: Base, files: Mapping[str, Sequence[Path]]) -> Fetch | None:
    given = layers.parameters(step)
    options = shlex.split(given["extra_options"])
    indexes = [given["index_url"], *given["extra_index_url"], *given["find_links"]]
    wanted = [*given["packages"], *_listed(path for paths in files.values() for path in paths)]
    remote = all(not url or url.startswith(("https://", "http://")) for url in indexes)
    if not (remote and wanted and _OPTIONS.issuperset(options) and all(map(_REQUIREMENT.fullmatch, wanted))):
        return None
    sources = [f"--index-url={given['index_url']}"] if given["index_url"] else []
    sources += [f"--extra-index-url={url}" for url in given["extra_index_url"]]
    sources += [f"--find-links={url}" for url in given["find_links"]]
    passed_on = [option for option in options if option in _PASSED_ON] + (["--pre"] if given["pre"] else [])
    argv = (*("/bin/sh", "-e", "-c", _PIP, "sh", "--python", base.python), *sources, *passed_on, "--", *wanted)
    return Fetch(argv, {"EARLIER": "\n".join(_constraints(earlier)), "UV_COMPILE_BYTECODE": "0"}, "uv/archive-v0")


def _constraints(earlier: Sequence[Step]) -> Iterator[str]:
    """Yields the versions that earlier steps asked for, so that no other version of those packages is downloaded."""
    for step in earlier:
        if step.kind == "pip":
            for requirement in layers.parameters(step)["packages"]:
                match = _REQUIREMENT.fullmatch(requirement)
                if match and not match[1]:
                    yield requirement


def _listed(paths: Iterable[Path]) -> Iterator[str]:
    """Yields the requirements in files, without their hashes, which the step itself checks when it installs."""
    for path in paths:
        if path.stat().st_size > MAX_REQUIREMENTS_BYTES:
            yield ""  # which is no requirement
            return
        text = path.read_text(errors="replace").replace("\\\n", " ")
        for line in text.splitlines():
            said = _HASH.sub("", re.sub(r"(^|\s)#.*", "", line)).strip()
            if said:
                yield said
