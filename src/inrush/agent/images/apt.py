"""The node's apt settings, and the files by which builds use them.

Two things matter to a build of another Debian release: the mirror (and the security mirror) that the node uses, and how
it is reached (proxy, certificates, passwords, retries). Both go into files that builds see and layers do not hold; an
image's own `/etc/apt/sources.list` names Debian's public servers.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from inrush.agent.images.packages import BUILD
from inrush.launcher.specs import Bind

PUBLIC = "http://deb.debian.org/debian"
PUBLIC_SECURITY = "http://deb.debian.org/debian-security"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

_REACHING = re.compile(
    r"^Acquire::(http|https|ftp|Retries|Check-|Max-|ForceIPv|Languages|AllowInsecure)", re.IGNORECASE
)
_FILE_VALUE = re.compile(r'^(Acquire::https[^ ]*::(?:CaInfo|SslCert|SslKey)) "(/[^"]+)";$', re.IGNORECASE)
OURS = (
    'APT::Sandbox::User "root";',  # a build's user namespace has its own root, and nobody else to be
    'APT::Install-Recommends "0";',
    'Acquire::Languages "none";',
    'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";',
    'Dir::Cache::pkgcache "";',
    'Dir::Cache::srcpkgcache "";',
    'DPkg::Options:: "--force-unsafe-io";',
    'DPkg::Options:: "--force-confold";',
)


@dataclass(frozen=True, slots=True)
class AptSettings:
    """Mirrors (URLs without a trailing slash), lines of apt.conf, lines of auth.conf, and files that they refer to."""

    mirror: str = PUBLIC
    security: str = PUBLIC_SECURITY
    conf: tuple[str, ...] = ()
    auth: str = ""
    binds: tuple[Bind, ...] = ()

    def sources(self, release: str, signed_by: str = KEYRING) -> str:
        """A sources.list for a release of Debian."""
        return sources(release, self.mirror, self.security, signed_by)


def sources(release: str, mirror: str = PUBLIC, security: str = PUBLIC_SECURITY, signed_by: str = KEYRING) -> str:
    """A sources.list: the release, its updates, its security updates."""
    lines = (
        f"{mirror} {release} main",
        f"{mirror} {release}-updates main",
        f"{security} {release}-security main",
    )
    return "".join(f"deb [signed-by={signed_by}] {line}\n" for line in lines)


def inherit(root: Path = Path("/")) -> AptSettings:
    """Reads the apt settings of this node. On a node that is not Debian they name Debian's public servers."""
    mirror, security = _mirrors(_uris(root / "etc/apt"))
    conf, binds = _reaching(_dump())
    auth = "".join(_texts([root / "etc/apt/auth.conf", *_parts(root / "etc/apt/auth.conf.d", ".conf")]))
    return AptSettings(mirror, security, conf, auth, binds)


def write(settings: AptSettings, directory: Path, release: str) -> tuple[dict[str, str], tuple[Bind, ...]]:
    """Writes the apt files for builds on `release` below `directory`, and returns the variables and binds for them."""
    inside = f"{BUILD}/apt"
    place = directory / f"apt-{release}"
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    lines = [*OURS, *settings.conf]
    if (settings.mirror, settings.security) != (PUBLIC, PUBLIC_SECURITY):
        _replace(place / "sources.list", settings.sources(release))
        lines.append(f'Dir::Etc::sourcelist "{inside}/sources.list";')
    if settings.auth:
        _replace(place / "auth.conf", settings.auth)
        lines.append(f'Dir::Etc::netrc "{inside}/auth.conf";')
    _replace(place / "apt.conf", "\n".join(lines) + "\n")
    return {"APT_CONFIG": f"{inside}/apt.conf"}, (Bind(str(place), inside), *settings.binds)


def _replace(path: Path, text: str) -> None:
    """Replaces a file atomically: running builds may be reading it, and builds that begin now write it in other
    threads.
    """
    part = path.with_suffix(f".{threading.get_ident()}")
    part.write_text(text)
    part.rename(path)


def _mirrors(found: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """(mirror, security mirror) of the first sources that are Debian's own archive."""
    mirror = security = ""
    for uri, suite in found:
        uri = uri.rstrip("/")
        if not uri.startswith(("http://", "https://")):
            continue
        if uri.endswith("/debian") and not mirror and "security" not in suite:
            mirror = uri
        if uri.endswith(("/debian-security", "//security.debian.org")) and not security:
            security = uri
    return mirror or PUBLIC, security or PUBLIC_SECURITY


def _uris(etc: Path) -> Iterator[tuple[str, str]]:
    """(URI, suite) of each enabled source, from both forms of source files."""
    for text in _texts([etc / "sources.list", *_parts(etc / "sources.list.d", ".list")]):
        for line in text.splitlines():
            words = re.sub(r"\[[^]]*\]", "", line).split()
            if len(words) >= 3 and words[0] == "deb":
                yield words[1], words[2]
    for text in _texts(_parts(etc / "sources.list.d", ".sources")):
        for paragraph in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", paragraph, re.MULTILINE))
            if fields.get("Enabled", "yes").lower() != "no" and "deb" in fields.get("Types", "").split():
                for uri in fields.get("URIs", "").split():
                    yield uri, fields.get("Suites", "")


def _parts(directory: Path, suffix: str) -> list[Path]:
    return sorted(directory.glob(f"*{suffix}"))


def _texts(paths: Iterable[Path]) -> list[str]:
    return [path.read_text(errors="replace") for path in paths if path.is_file() and os.access(path, os.R_OK)]


def _dump() -> list[str]:
    if not shutil.which("apt-config"):
        return []
    result = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=30, check=False)
    return result.stdout.splitlines()


def _reaching(dump: Iterable[str]) -> tuple[tuple[str, ...], tuple[Bind, ...]]:
    """Returns the lines of `apt-config dump` that say how archives are reached, and binds for the files they name."""
    lines: list[str] = []
    binds: list[Bind] = []
    for line in dump:
        if match := _FILE_VALUE.match(line):
            if Path(match[2]).is_file():
                binds.append(Bind(match[2], f"{BUILD}/apt-files/{len(binds)}"))
                lines.append(f'{match[1]} "{binds[-1].dst}";')
        elif _REACHING.match(line) and not line.endswith('"";'):
            lines.append(line)
    return tuple(lines), tuple(binds)
