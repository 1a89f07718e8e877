"""Where a path of an image leads: through the links of its layers, and whether anything is seen there.

Files that are added to an image lie in a layer of their own. A real directory in it hides a link of the same name in
the layers below, and all that the link leads to; so the directory is put where the link leads. Links are followed by
their text alone, as a container would follow them: a hostile one names a place in the image, and never one outside.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from inrush.core.images.layers import HIDDEN
from inrush.errors import InvalidError

MAX_LINKS = 40
"""Links on the way to one path, as for the kernel."""


class Places:
    """Of one image: its layers, top first, and the paths of what is mounted over them in containers."""

    def __init__(self, layers: Sequence[str], mounted: Iterable[str] = ()) -> None:
        self._layers = [Path(layer) for layer in layers]
        self._covered = (*HIDDEN, *mounted)

    def lead(self, path: str) -> str:
        """The directory, relative to `/`, that a container finds at the relative `path`. Raises `InvalidError` where
        it finds something else than the image's files."""
        found = self._followed(path)
        cover = next((one for one in self._covered if f"/{found}/".startswith(f"{one}/")), "")
        if cover:
            raise InvalidError(f"nothing can be added at /{path}: containers have {cover} from elsewhere")
        return found

    def moved(self, layer: Path) -> bool:
        """Whether a directory of the layer belongs elsewhere in this image. Raises `InvalidError` as `lead` does."""
        found = False
        for folder, folders, names in os.walk(layer):
            path = os.path.relpath(folder, layer)
            if path != "." and (names or not folders):
                found = self.lead(path) != path or found
        return found

    def _followed(self, path: str) -> str:
        rest, found, links = path.split("/")[::-1], "", 0
        while rest:
            part = rest.pop()
            found = posixpath.normpath(posixpath.join("/", found, part))[1:]
            target = self._link(found)
            if target is None:
                continue
            if (links := links + 1) > MAX_LINKS:
                raise InvalidError(f"/{path} leads through more than {MAX_LINKS} links of the image")
            found = "" if posixpath.isabs(target) else posixpath.dirname(found)
            rest += [one for one in target.split("/")[::-1] if one]
        return found

    def _link(self, path: str) -> str | None:
        """Where the link at a path leads; None where there is none, or it cannot be seen."""
        for layer in self._layers:
            try:
                mode = (layer / path).lstat().st_mode
                return os.readlink(layer / path) if stat.S_ISLNK(mode) else None
            except OSError:
                continue
        return None
