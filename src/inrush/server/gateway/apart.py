"""What keeps apps apart in browsers: one must reach neither another's cookies and storage, nor the API's.

Under a host name of its own an app is an origin of its own; there only cookies for a parent of that name are dropped.
Under `/w/LABEL/` it shares its origin with the API and with every other app. That form is for programs. There cookies
outside of the prefix and headers that act on the whole origin are dropped, scripts of service workers are not served,
and each response says that a document of it is a sandbox: its scripts run in an opaque origin, whose requests to the
API carry `Origin: null` and are refused. A browser that is led to such a path goes to the app's own name, where it has
one.
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
"""Headers by which a response speaks for all that its origin serves."""


def apart(scope: Any, root: str, send: Any) -> Any:
    """`send`, without what would reach beyond the app at `root` (empty: at a host name of its own)."""
    bare = bool(root) and (scope.get("raw_path") or b"").count(b"/") < 3  # a browser's default path would be a parent
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
    return not root or name not in OF_ORIGINS


def _pathless(name: bytes, value: bytes) -> bool:
    """Whether a header sets a cookie for the path that it was asked for at."""
    return name.lower() == b"set-cookie" and not re.search(rb";\s*path\s*=\s*/", value, re.IGNORECASE)


def _own_cookie(cookie: str, root: str, host: str) -> bool:
    """Whether a cookie is for this app alone. Without a path it is for the request's, which lies below the root."""
    for attribute in cookie.split(";")[1:]:
        name, _, value = attribute.partition("=")
        name, value = name.strip().lower(), value.strip().strip('"')
        if name == "domain" and value and (root or value.lower().lstrip(".") != host):
            return False
        if name == "path" and root and value.startswith("/") and value != root and not value.startswith(root + "/"):
            return False
    return True


def browser_asks(scope: Any) -> tuple[bool, bool]:
    """Whether a browser asks for the script of a service worker; and whether for a page that it will show under this
    address."""
    worker = page = False
    for name, value in scope["headers"]:
        if name == b"service-worker":
            worker = True
        elif name == b"sec-fetch-mode":
            page = value == b"navigate" and scope["type"] == "http" and scope["method"] == "GET"
    return worker, page
