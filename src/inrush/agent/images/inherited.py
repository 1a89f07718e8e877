"""The node's package settings, read by the process that starts the server, since the server itself may not read them.

Files that the settings refer to (certificates, keys, constraints) are read with them, and builds see copies. A
directory, such as one of wheels, is shown as it is: a build reads in it what its modes let everybody read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from inrush.agent.images.apt import AptSettings
from inrush.agent.images.apt import inherit as inherit_apt
from inrush.agent.images.packages import PackageSettings
from inrush.agent.images.packages import inherit as inherit_packages
from inrush.launcher.specs import Bind

MAX_FILE_BYTES = 4 << 20
"""The size of a file that is copied. Builds are shown the original of a larger file."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """Settings of pip, uv and apt, and the content of the files that they refer to, by path."""

    packages: PackageSettings
    apt: AptSettings
    files: Mapping[str, bytes]

    @classmethod
    def read(cls) -> Inherited:
        """Reads the settings with the rights of this process."""
        packages, apt = inherit_packages(), inherit_apt()
        paths = [Path(bind.src) for bind in (*packages.binds, *apt.binds)]
        small = [path for path in paths if path.is_file() and path.stat().st_size <= MAX_FILE_BYTES]
        return cls(packages, apt, {str(path): path.read_bytes() for path in small})

    def sources(self) -> list[str]:
        """The paths of the machine that builds are shown."""
        return [bind.src for bind in (*self.packages.binds, *self.apt.binds) if bind.src not in self.files]

    def settled(self, directory: Path) -> tuple[PackageSettings, AptSettings]:
        """Makes `directory`, writes the files to it, and returns the settings that refer to them there."""
        directory.mkdir(mode=0o755, parents=True)
        places = {path: directory / str(number) for number, path in enumerate(self.files)}
        for path, place in places.items():
            place.write_bytes(self.files[path])
            place.chmod(0o644)

        def moved(binds: tuple[Bind, ...]) -> tuple[Bind, ...]:
            return tuple(replace(bind, src=str(places.get(bind.src, bind.src))) for bind in binds)

        packages = replace(self.packages, binds=moved(self.packages.binds))
        return packages, replace(self.apt, binds=moved(self.apt.binds))
