"""Where web functions are found: a stable label each, `<app>-<function>[-<method>]`, or the one that the program
asked for; outside of `main` behind its environment and two dashes, so that no label is another environment's."""

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
    """Addresses of an app's endpoints by function, or `function.method`: by path, which every program can resolve, and
    by host name, which gives each an origin of its own in browsers."""

    paths: dict[str, str]
    pages: dict[str, str]


class Endpoints:
    """All labels. `base` is the server's address, and `port` its port, known once it listens; below `domain` each
    endpoint has a host name of its own."""

    def __init__(self, domain: Domain) -> None:
        self.base, self.port = "", 0
        self._domain = domain
        self._by_label: dict[str, Endpoint] = {}

    def get(self, label: str) -> Endpoint | None:
        """What is served there."""
        return self._by_label.get(label)

    def all(self) -> list[Endpoint]:
        """Every endpoint, by label."""
        return [self._by_label[label] for label in sorted(self._by_label)]

    def check(self, app: str, spec: AppSpec, deployed: bool, name_of: Callable[[str], str]) -> None:
        """Raises `AlreadyExistsError` where a label is another app's; `name_of` an id. Another run of the same app may
        take over the labels that its program did not choose."""
        for _, _, web, label in _labels(spec, deployed):
            taken = self._by_label.get(label)
            if taken is not None and taken.app != app and (web.label or name_of(taken.app) != spec.name):
                raise AlreadyExistsError(
                    f"the label {label!r} is in use by app {name_of(taken.app)!r}; choose another label=, "
                    "or stop that one: `inrush app stop`"
                )

    def bind(self, app: str, spec: AppSpec, functions: dict[str, str], deployed: bool) -> Urls:
        """Serves an app's web functions, and no others of it."""
        self.unbind(app)
        urls = Urls({}, {})
        for function, method, web, label in _labels(spec, deployed):
            self._by_label[label] = Endpoint(label, app, functions[function.name], method, web)
            name = f"{function.name}.{method}" if method else function.name
            urls.paths[name] = f"{self.base}/w/{label}"
            urls.pages[name] = self._domain.url(label, self.port)
        return urls

    def unbind(self, app: str) -> None:
        """The app serves nothing any more."""
        self._by_label = {label: e for label, e in self._by_label.items() if e.app != app}

    def page_from(self, label: str, scope: Any) -> str:
        """Where a browser that asked for the path form finds the endpoint under its own name; empty where no such name
        leads here: `*.localhost` is the browser's own machine."""
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
    """As a DNS label: lower case, digits and dashes, at most 63; a longer one ends with a hash of all of it. Two dashes
    together stand behind the environment only."""
    before = "" if environment == MAIN else f"{environment}--"
    room = LABEL_CHARACTERS - len(before)
    clean = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") or "app"
    if len(clean) <= room:
        return before + clean
    digest = hashlib.sha256(label.encode()).hexdigest()[:_HASH_CHARACTERS]
    return f"{before}{clean[: room - _HASH_CHARACTERS - 1].rstrip('-')}-{digest}"
