"""The node's package settings: where pip and uv of this machine get packages from, carried into image builds.

An administrator sets up mirrors, wheel directories, constraints, proxies and certificates once, for pip and apt; builds
follow them. What is found becomes environment variables of the build (pip's own, and their translation for uv) and
read-only binds under `/opt/inrush/build`, so that no path of the node, and nothing else of this, ends in a layer or in
an image. `apt.py` does the same for apt.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from inrush.launcher.specs import Bind

BUILD = "/opt/inrush/build"
"""The directory in a build's container for everything that must not end up in a layer."""

_LISTS = {"find-links", "extra-index-url", "constraint", "trusted-host", "no-binary", "only-binary"}
_KEPT = {"index-url", "no-index", "pre", "cert", "client-cert", "default-timeout", "proxy", "retries", "prefer-binary"}
"""Settings of pip that say where packages come from. All others (targets, verbosity, …) do not apply to builds."""

_TO_UV = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_EXTRA_INDEX_URL", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "no-index": ("UV_NO_INDEX", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
    "retries": ("UV_HTTP_RETRIES", " "),
    "client-cert": ("SSL_CLIENT_CERT", " "),
}
"""uv's variable for a setting of pip, and what separates several values there."""

_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_UV_LEFT_OUT = (
    "UV_CACHE_DIR",
    "UV_PYTHON",
    "UV_PROJECT_ENVIRONMENT",
    "UV_SYSTEM_PYTHON",
    "UV_LINK_MODE",
    "UV_TOOL_DIR",
    "UV_RUN_RECURSION_DEPTH",
    "UV_INTERNAL__PARENT_INTERPRETER",
    "UV",
)


@dataclass(frozen=True, slots=True)
class PackageSettings:
    """Environment variables for a build, and binds for the files that they refer to."""

    env: Mapping[str, str]
    binds: tuple[Bind, ...]


def inherit(environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> PackageSettings:
    """The settings of this node, as its own pip and uv would see them. `root` is where its files are looked for."""
    places = _Places(root)
    env = {name: environ[name] for name in _PROXIES if environ.get(name)}
    config = _pip_config(environ, root)
    if proxy := config.pop("proxy", ""):
        env.update(HTTP_PROXY=proxy, HTTPS_PROXY=proxy, PIP_PROXY=proxy)
    certificate = config.pop("cert", "") or next((environ[n] for n in _CERTIFICATES if environ.get(n)), "")
    if certificate and (inside := places.show(certificate)):
        env.update(dict.fromkeys(_CERTIFICATES, inside))
    for name, value in config.items():
        _translate(name, [places.show(v) for v in value.split()] if name in _LISTS else [places.show(value)], env)
    for name, value in environ.items():
        if name.startswith("UV_") and name not in _UV_LEFT_OUT:
            env[name] = places.show_each(value)
    if configured := _uv_config(environ, root):
        env.setdefault("UV_CONFIG_FILE", places.show(f"/{configured.relative_to(root)}"))
    return PackageSettings(env, tuple(places.binds()))


def _translate(name: str, values: list[str], env: dict[str, str]) -> None:
    """Writes one setting of pip to `env`, as variables of pip and of uv."""
    values = [v for v in values if v]
    if not values:
        return
    env["PIP_" + name.upper().replace("-", "_")] = " ".join(values)
    if name in _TO_UV:
        variable, separator = _TO_UV[name]
        env[variable] = separator.join(values)
    elif name == "pre":
        env["UV_PRERELEASE"] = "allow"
    elif name in ("no-binary", "only-binary"):
        variable = "UV_NO_BINARY" if name == "no-binary" else "UV_NO_BUILD"
        if ":all:" in values:
            env[variable] = "1"
        else:
            env[f"{variable}_PACKAGE"] = " ".join(v.replace(",", " ") for v in values)
    if name in ("extra-index-url", "find-links"):
        # pip weighs all sources alike; uv's default would stop at the first index that knows a name.
        env["UV_INDEX_STRATEGY"] = "unsafe-best-match"


class _Places:
    """Maps local paths in settings to the paths at which builds see them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._shown: dict[str, str] = {}

    def show(self, value: str) -> str:
        """Returns `value` with a local path replaced by the path that builds see; empty if nothing exists there."""
        if value.startswith("file://"):
            path = unquote(urlsplit(value).path)
            inside = self._inside(path.rstrip("/"), with_parent=True)
            return f"file://{inside}" if inside else ""
        return self._inside(value) if value.startswith("/") else value

    def show_each(self, value: str) -> str:
        """Applies `show` to each part of a value that may be a list."""
        separator = "," if "," in value else " "
        shown = [self.show(part) for part in value.split(separator)]
        return separator.join(part for part in shown if part)

    def binds(self) -> Iterator[Bind]:
        for source, inside in self._shown.items():
            yield Bind(source, inside)

    def _inside(self, path: str, with_parent: bool = False) -> str:
        """The path at which builds see `path`. A URL's parent is shown, since an index links to files beside it."""
        source = self._root / path.lstrip("/")
        if not source.exists():
            return ""
        top = source.parent if with_parent and len(source.relative_to(self._root).parts) > 1 else source
        inside = self._shown.setdefault(str(top), f"{BUILD}/node/{len(self._shown)}")
        return inside if top == source else f"{inside}/{source.name}"


def _pip_config(environ: Mapping[str, str], root: Path) -> dict[str, str]:
    """The settings as `pip config list` shows them: variables override files, and `[install]` overrides `[global]`."""
    found: dict[str, str] = {}
    for path in _pip_files(environ, root):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path)
        except (configparser.Error, UnicodeDecodeError):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update({k.replace("_", "-").lower(): v for k, v in parser.items(section)})
    for name, value in environ.items():
        if name.startswith("PIP_") and value:
            found[name[4:].lower().replace("_", "-")] = value
    if "timeout" in found:
        found["default-timeout"] = found.pop("timeout")
    return {k: v for k, v in found.items() if k in _LISTS | _KEPT and v.strip()}


def _pip_files(environ: Mapping[str, str], root: Path) -> Iterator[Path]:
    """Yields pip's configuration files in the order in which pip reads them: global, user, site, `PIP_CONFIG_FILE`."""
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return
    for directory in reversed((environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")):
        yield root / directory.lstrip("/") / "pip/pip.conf"
    yield root / "etc/pip.conf"
    if home := environ.get("HOME", "").lstrip("/"):
        yield root / home / ".pip/pip.conf"
    if user := _user_config(environ, root):
        yield user / "pip/pip.conf"
    yield root / sys.prefix.lstrip("/") / "pip.conf"
    if named:
        yield root / named.lstrip("/")


def _uv_config(environ: Mapping[str, str], root: Path) -> Path | None:
    """uv's own settings file, the user's before the machine's."""
    user = _user_config(environ, root)
    candidates = [*([user / "uv/uv.toml"] if user else []), root / "etc/uv/uv.toml"]
    return next((path for path in candidates if path.is_file()), None)


def _user_config(environ: Mapping[str, str], root: Path) -> Path | None:
    configured, home = environ.get("XDG_CONFIG_HOME", ""), environ.get("HOME", "")
    if configured or home:
        return root / (configured.lstrip("/") or f"{home.lstrip('/')}/.config")
    return None
