"""What an image is made of: its steps, the local files that they read, and what the server is told."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from inrush.client.secret import Secret
from inrush.errors import InvalidError, UnimplementedError

if TYPE_CHECKING:
    from inrush.client._tar import Blob
    from inrush.wire import Recipe

Files = Callable[[], "list[tuple[str, Blob]]"]
"""Reads local files when the image is used: labels and contents."""


class BuildStep(NamedTuple):
    kind: str
    argument: str
    files: Files
    secrets: tuple[Secret, ...]
    force: bool


class Definition(NamedTuple):
    """What the server is told of an image, with what has to be there first."""

    recipe: Recipe
    blobs: tuple[Blob, ...]
    secrets: tuple[Secret, ...]
    mounts: tuple[Blob, ...]


def no_files() -> list[tuple[str, Blob]]:
    return []


def flat(method: str, given: Sequence[str | Sequence[str]]) -> list[str]:
    """The strings, without the lists that hold them; they may be none."""
    names: list[str] = []
    for item in given:
        names += item if isinstance(item, list | tuple) else [item]  # type: ignore[list-item]
    if not all(isinstance(name, str) and name for name in names):
        raise InvalidError(f"{method} takes strings, or lists of strings, not {given!r}")
    return names


def pip_options(
    find_links: str | None, index: str | None, extra_index: str | None, pre: bool, options: str
) -> dict[str, Any]:
    return {
        "find_links": [find_links] if find_links else [],
        "index_url": index or "",
        "extra_index_url": [extra_index] if extra_index else [],
        "pre": pre,
        "extra_options": options,
    }


def requirement_files(paths: Sequence[str | Path]) -> Files:
    def files() -> list[tuple[str, Blob]]:
        from inrush.client._tar import Blob

        return [("requirements.txt", Blob(existing(path, False).read_bytes())) for path in paths]

    return files


def existing(path: str | Path, folder: bool) -> Path:
    found = Path(path).expanduser()
    if not (found.is_dir() if folder else found.is_file()):
        raise InvalidError(
            f"there is no {'folder' if folder else 'file'} {found.absolute()}, which an image is to hold"
        )
    return found


def need_absolute(method: str, path: str) -> None:
    if not PurePosixPath(path).is_absolute():
        raise InvalidError(f"{method}: the path in the container is absolute, not {path!r}")


def need_visible(method: str, path: str, base: str) -> None:
    """Raises `InvalidError` for a path at which containers would not see what an image holds."""
    from inrush.core.images.layers import HIDDEN, HIDDEN_ON_HOST

    need_absolute(method, path)
    clean = posixpath.normpath(path)
    for hidden in (*HIDDEN, *(HIDDEN_ON_HOST if base == "host" else ())):
        if f"{clean}/".startswith(f"{hidden}/"):
            whose = "the node's" if hidden in HIDDEN_ON_HOST else "a new"
            raise InvalidError(
                f"{method}: each container has {whose} {hidden}, where {path} would not be seen; choose another path"
            )


def refuse_volumes(method: str, volumes: Any) -> None:
    if volumes:
        raise UnimplementedError(f"{method}(volumes=…) is not built yet: the step's files are kept in the image itself")
