"""Isolation of apps in browsers: no app may reach the cookies or storage of another app or of the API.

At a host name of its own an app has an origin of its own; there only cookies for a parent domain, and what would clear
the cookies of all names below that, are dropped. Below `/w/LABEL/`, the form for programs, it shares its origin with
the API and all other apps. There cookies outside of the prefix and headers that apply to the whole origin are dropped,
scripts of service workers are refused, and each response has a Content-Security-Policy with `sandbox`: its scripts run
in an opaque origin, whose requests to the API have `Origin: null` and are refused. A browser that navigates to such a
path is redirected to the app's host name, if that leads here.
"""

from __future__ import annotations

import re
from typing import Any

from inrush.server.port.names import host_of

SANDBOX = (b"content-security-policy", b"sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads")
OF_ORIGINS = frozenset({
    b"service-worker-allowed", b"clear-site-data", b"strict-transport-security", b"alt-svc", b"nel", b"report-to",
    b"reporting-endpoints", b"origin-agent-cluster", b"public-key-pins", b"expect-ct",
})  # fmt: skip
"""Headers of a response that apply to its whole origin."""

_OF_SITE = re.compile(rb'"(cookies|\*)"', re.IGNORECASE)
"""Browsers delete the cookies of all names below the same registrable domain then, which are other apps'."""


def apart(scope: Any, root: str, send: Any) -> Any:
    """Wraps `send` so that cookies and headers cannot reach beyond the app at `root`; an empty `root` means that the
    app is at a host name of its own."""
    # at the root itself, the browser's default path would be a parent of it
    bare = bool(root) and (scope.get("raw_path") or b"").count(b"/") <= root.count("/")
    default = f"; Path={root}".encode("latin-1") if bare else b""

    async def sent(message: dict[str, Any]) -> None:
        if "headers" in message:
            headers = [
                (name, value + default if default and _pathless(name, value) else value)
                for name, value in message["headers"]
                if _kept(name.lower(), value, root, scope)
            ]
            if root and message["type"] == "http.response.start":
                headers.append(SANDBOX)
            message = {**message, "headers": headers}
        await send(message)

    return sent


def _kept(name: bytes, value: bytes, root: str, scope: Any) -> bool:
    if name == b"set-cookie":
        return _own_cookie(value.decode("latin-1"), root, host_of(scope))
    if name == b"clear-site-data" and _OF_SITE.search(value):
        return False
    return not root or name not in OF_ORIGINS


def _pathless(name: bytes, value: bytes) -> bool:
    """Whether a header sets a cookie without a path of its own."""
    return name.lower() == b"set-cookie" and not re.search(rb";\s*path\s*=\s*/", value, re.IGNORECASE)


def _own_cookie(cookie: str, root: str, host: str) -> bool:
    """Whether a cookie is for this app alone. Without a path it applies to that of the request, which is below the
    root."""
    for attribute in cookie.split(";")[1:]:
        name, _, value = attribute.partition("=")
        name, value = name.strip().lower(), value.strip().strip('"')
        if name == "domain" and value and (root or value.lower().lstrip(".") != host):
            return False
        if name == "path" and root and value.startswith("/") and value != root and not value.startswith(root + "/"):
            return False
    return True


def browser_asks(scope: Any) -> tuple[bool, bool]:
    """Whether a browser asks for the script of a service worker, and whether it navigates to a page."""
    worker = page = False
    for name, value in scope["headers"]:
        if name == b"service-worker":
            worker = True
        elif name == b"sec-fetch-mode":
            page = value == b"navigate" and scope["type"] == "http" and scope["method"] == "GET"
    return worker, page
