"""The host names to which the HTTP port answers: those of the server, and those of endpoints.

A page in a browser can make requests to loopback, and by DNS rebinding even under the page's own name. So the `Host` of
a request must be a name of loopback, this machine's name, an IP address (to which rebinding does not apply), or a name
of the settings `public_url` and `allowed_hosts`; or, for an endpoint, `LABEL.localhost` or `LABEL.` and the setting
`apps_domain`. A server that listens only on loopback does not accept other addresses or this machine's name.
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
_PUBLIC = re.compile(rf"https?://{_HOST.pattern}/?", re.ASCII)


class Domain(NamedTuple):
    """The domain below which endpoints have their host names. Without a `scheme`, browsers reach the server there
    without a proxy."""

    name: str = "localhost"
    scheme: str = ""
    port: str = ""

    @property
    def is_local(self) -> bool:
        """Whether names below it mean the machine of the browser."""
        return self.name == "localhost"

    def url(self, label: str, server_port: int) -> str:
        """The URL of an endpoint for browsers."""
        port = self.port if self.scheme else self.port or str(server_port)
        scheme = self.scheme or "http"
        shown = "" if port in ("", _PORTS[scheme]) else f":{port}"
        return f"{scheme}://{label}.{self.name}{shown}"


def domain(text: str) -> Domain:
    """Parses the setting `apps_domain`. Raises `InvalidError`."""
    if not text:
        return Domain()
    found = _DOMAIN.fullmatch(text.strip().lower())
    if found is None:
        raise InvalidError(f"apps_domain must be a name such as apps.example.org, or https://NAME[:PORT], not {text!r}")
    return Domain(found[2], found[1] or "", found[3] or "")


def public(text: str) -> str:
    """Parses the setting `public_url`: the URL without a slash at its end; empty for none. Raises `InvalidError`."""
    url = text.strip().lower()
    if url and not _PUBLIC.fullmatch(url):
        raise InvalidError(f"public_url must be http(s)://NAME[:PORT], without a path, not {text!r}")
    return url.rstrip("/")


class Names:
    """The host names of one server. `public_url` has one more, beside those that are `allowed`."""

    def __init__(self, host: str, apps: Domain, allowed: str = "", public_url: str = "") -> None:
        self._loopback_only = host in LOOPBACK
        self._suffixes = tuple({".localhost", f".{apps.name}"})
        self._own = {*LOOPBACK, *(name.strip().lower() for name in allowed.split(",") if name.strip())}
        if public_url:
            self._own.add(urlsplit(public_url).hostname or "")
        if not self._loopback_only:
            self._own |= {name.lower() for name in (host, socket.gethostname()) if name and not _is_number(name)}

    def label(self, scope: Any) -> str:
        """The label of the endpoint that a request's `Host` means; empty if it means the server. Raises
        `PermissionDeniedError` for any other name."""
        name = host_of(scope)
        if name in self._own or (not self._loopback_only and _is_address(name)):
            return ""
        for suffix in self._suffixes:
            label = name.removesuffix(suffix)
            if label and label != name:
                return label
        raise PermissionDeniedError(
            "this server does not answer to that name; use its address, or add the name to the server's setting "
            "allowed_hosts"
        )


def check_origin(scope: Any) -> None:
    """Raises `PermissionDeniedError` for a request by a page of another origin. Programs send no `Origin`."""
    host = header(scope, b"host").lower()
    origin = header(scope, b"origin").lower()
    if origin and not _same(origin, host):
        raise PermissionDeniedError(
            "pages of other origins may not use this server; programs must not send an Origin header"
        )
    foreign = header(scope, b"sec-fetch-site") in ("cross-site", "same-site")
    if foreign and header(scope, b"sec-fetch-mode") != "navigate":
        raise PermissionDeniedError(
            "pages of other origins may not use this server; programs must not send an Origin header"
        )


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
    """Whether a name is an IP address that a machine can have."""
    if not _is_number(name):
        return False
    address = ipaddress.ip_address(name)
    return not address.is_unspecified and getattr(address, "ipv4_mapped", None) is None


def header(scope: Any, name: bytes) -> str:
    """The value of a request's header; empty if it has none."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def host_of(scope: Any) -> str:
    """The host in a request's `Host` header, without port and brackets; empty if the header is malformed."""
    found = _HOST.fullmatch(header(scope, b"host").lower())
    return found[1].strip("[]") if found is not None else ""


def port_of(scope: Any) -> int:
    """The port in a request's `Host` header; 0 if it has none."""
    found = _HOST.fullmatch(header(scope, b"host").lower())
    return int(found[2]) if found is not None and found[2] else 0
