"""Which names the HTTP port answers to, and whose each is: the server's own, or one endpoint's.

A page in a browser can make requests to loopback, and by DNS rebinding even under its own name. So a `Host` must be one
that belongs here: a name of loopback, this machine's own, an IP address (which no name can be rebound to), a name that
the setting `allowed_hosts` has, or `LABEL.localhost` and `LABEL.` + the setting `apps_domain`, which are an endpoint's.
On a server that listens on loopback alone, other addresses and this machine's name are foreign too.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from inrush.errors import InvalidError, PermissionDeniedError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::([0-9]{1,5}))?", re.ASCII)
_DOMAIN = re.compile(r"(?:(https?)://)?([a-z0-9-]+(?:\.[a-z0-9-]+)*)(?::([0-9]{1,5}))?/?", re.ASCII)
_PORTS = {"http": "80", "https": "443"}


class Domain(NamedTuple):
    """Below which name endpoints have theirs. Without a `scheme`, the server is reached there directly."""

    name: str = "localhost"
    scheme: str = ""
    port: str = ""

    @property
    def is_local(self) -> bool:
        """Whether names below it are those of whichever machine asks."""
        return self.name == "localhost"

    def url(self, label: str, server_port: int) -> str:
        """An endpoint's address for browsers."""
        port = self.port if self.scheme else self.port or str(server_port)
        scheme = self.scheme or "http"
        shown = "" if port in ("", _PORTS[scheme]) else f":{port}"
        return f"{scheme}://{label}.{self.name}{shown}"


def domain(text: str) -> Domain:
    """The setting `apps_domain`. Raises `InvalidError`."""
    if not text:
        return Domain()
    found = _DOMAIN.fullmatch(text.strip().lower())
    if found is None:
        raise InvalidError(f"apps_domain must be a name such as apps.example.org, or https://NAME[:PORT], not {text!r}")
    return Domain(found[2], found[1] or "", found[3] or "")


class Names:
    """The names of one server."""

    def __init__(self, host: str, apps: Domain, allowed: str = "") -> None:
        self._loopback_only = host in LOOPBACK
        self._suffixes = tuple({".localhost", f".{apps.name}"})
        self._own = {*LOOPBACK, *(name.strip().lower() for name in allowed.split(",") if name.strip())}
        if not self._loopback_only:
            self._own |= {name.lower() for name in (host, socket.gethostname()) if name and not _is_number(name)}

    def label(self, scope: Any) -> str:
        """The label of the endpoint that a request is for by its `Host`; empty where it is for the server. Raises
        `PermissionDeniedError` for a name that is not of here."""
        name = host_of(scope)
        if name in self._own or (not self._loopback_only and _is_address(name)):
            return ""
        for suffix in self._suffixes:
            label = name.removesuffix(suffix)
            if label and label != name:
                return label
        raise PermissionDeniedError(
            "this server does not answer to that name; use its address, or add the name to the setting allowed_hosts"
        )


def check_origin(scope: Any) -> None:
    """Raises `PermissionDeniedError` for a request that a page of another origin made. Programs send no `Origin`."""
    host = header(scope, b"host").lower()
    origin = header(scope, b"origin").lower()
    if origin and not _same(origin, host):
        raise PermissionDeniedError("pages of other origins may not use this server")
    foreign = header(scope, b"sec-fetch-site") in ("cross-site", "same-site")
    if foreign and header(scope, b"sec-fetch-mode") != "navigate":
        raise PermissionDeniedError("pages of other origins may not use this server")


def _same(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in _PORTS or origin != f"{parts.scheme}://{parts.netloc}":
        return False
    return host == parts.netloc or host == f"{parts.netloc}:{_PORTS[parts.scheme]}"


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_address(name: str) -> bool:
    """One that a machine can have."""
    if not _is_number(name):
        return False
    address = ipaddress.ip_address(name)
    return not address.is_unspecified and getattr(address, "ipv4_mapped", None) is None


def header(scope: Any, name: bytes) -> str:
    """A header of a request, or empty."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def host_of(scope: Any) -> str:
    """The host that the client named, without its port and brackets; empty for what is none."""
    found = _HOST.fullmatch(header(scope, b"host").lower())
    return found[1].strip("[]") if found is not None else ""


def port_of(scope: Any) -> int:
    """The port that the client named; 0 where it named none."""
    found = _HOST.fullmatch(header(scope, b"host").lower())
    return int(found[2]) if found is not None and found[2] else 0
