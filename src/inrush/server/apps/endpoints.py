"""Endpoints: each has a stable label, `<app>-<function>[-<method>]` or one that the program chose. Outside of `main`
the label begins with the environment and two dashes, so that no two environments share one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from inrush.errors import AlreadyExistsError
from inrush.server.port.names import LOOPBACK, Domain, host_of, port_of
from inrush.wire import MAIN, AppSpec, FunctionSpec, Web

LABEL_CHARACTERS = 63
_HASH_CHARACTERS = 10


class Endpoint(NamedTuple):
    """One bound label."""

    label: str
    app: str
    function: str
    method: str
    web: Web


class Urls(NamedTuple):
    """The URLs of an app's endpoints by `function` or `function.method`: `paths` are URLs by path, which every program
    can resolve, and `pages` are URLs by host name, which give each endpoint an origin of its own in browsers."""

    paths: dict[str, str]
    pages: dict[str, str]


class Endpoints:
    """All endpoints by label. `base` is the URL at which users reach the server and `port` the port on which it
    listens; both are set once it listens. Each endpoint has a host name below `domain`."""

    def __init__(self, domain: Domain) -> None:
        self.base, self.port = "", 0
        self._domain = domain
        self._by_label: dict[str, Endpoint] = {}

    def get(self, label: str) -> Endpoint | None:
        """The endpoint of this label; None if there is none."""
        return self._by_label.get(label)

    def all(self) -> list[Endpoint]:
        """All endpoints, in the order of their labels."""
        return [self._by_label[label] for label in sorted(self._by_label)]

    def check(self, app: str, spec: AppSpec, deployed: bool, name_of: Callable[[str], str]) -> None:
        """Raises `AlreadyExistsError` if another app has one of the labels. Another run of the same app may take over
        labels that its program did not choose. `name_of` returns the name of an app's id."""
        for _, _, web, label in _labels(spec, deployed):
            taken = self._by_label.get(label)
            if taken is not None and taken.app != app and (web.label or name_of(taken.app) != spec.name):
                raise AlreadyExistsError(
                    f"the label {label!r} is in use by app {name_of(taken.app)!r}; choose another label=, "
                    "or stop that one: `inrush app stop`"
                )

    def bind(self, app: str, spec: AppSpec, functions: dict[str, str], deployed: bool) -> Urls:
        """Binds the endpoints of an app's version, in place of those that it had. Returns their URLs."""
        self.unbind(app)
        urls = Urls({}, {})
        for function, method, web, label in _labels(spec, deployed):
            self._by_label[label] = Endpoint(label, app, functions[function.name], method, web)
            name = f"{function.name}.{method}" if method else function.name
            urls.paths[name] = f"{self.base}/w/{label}"
            urls.pages[name] = self._domain.url(label, self.port)
        return urls

    def unbind(self, app: str) -> None:
        """Removes all endpoints of an app."""
        self._by_label = {label: e for label, e in self._by_label.items() if e.app != app}

    def page_from(self, label: str, scope: Any) -> str:
        """The URL by host name for a browser that has asked for the URL by path. It is empty if no such name leads to
        this server: `*.localhost` means the browser's own machine."""
        if not self._domain.is_local:
            return self._domain.url(label, self.port)
        return self._domain.url(label, port_of(scope) or self.port) if host_of(scope) in LOOPBACK else ""


def _labels(spec: AppSpec, deployed: bool) -> Iterator[tuple[FunctionSpec, str, Web, str]]:
    for function in spec.functions:
        for method, web in function.web:
            parts = [spec.name, function.name, *([method] if method else [])]
            wanted = web.label or "-".join(parts)
            yield function, method, web, sanitise(wanted if deployed else f"{wanted}-dev", spec.environment)


def sanitise(label: str, environment: str = MAIN) -> str:
    """Turns a label into a DNS label of at most 63 lower-case letters, digits and dashes. A longer one is cut, and ends
    with a hash of the whole. Two adjacent dashes occur only after the environment."""
    before = "" if environment == MAIN else f"{environment}--"
    room = LABEL_CHARACTERS - len(before)
    clean = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") or "app"
    if len(clean) <= room:
        return before + clean
    digest = hashlib.sha256(label.encode()).hexdigest()[:_HASH_CHARACTERS]
    return f"{before}{clean[: room - _HASH_CHARACTERS - 1].rstrip('-')}-{digest}"
