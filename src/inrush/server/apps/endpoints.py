"""Where web functions are found: a stable label each, `<app>-<function>[-<method>]`, or the one that the program
asked for; outside of `main` behind its environment and two dashes, so that no label is another environment's."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from inrush.errors import AlreadyExistsError
from inrush.wire import MAIN, AppSpec, FunctionSpec, Web

LABEL_CHARACTERS = 63
_HASH_CHARACTERS = 6


class Endpoint(NamedTuple):
    """One bound label."""

    label: str
    app: str
    function: str
    method: str
    web: Web


class Endpoints:
    """All labels. `base` is the server's address, known once it listens."""

    def __init__(self) -> None:
        self.base = ""
        self._by_label: dict[str, Endpoint] = {}

    def get(self, label: str) -> Endpoint | None:
        """What is served there."""
        return self._by_label.get(label)

    def all(self) -> list[Endpoint]:
        """Every endpoint, by label."""
        return [self._by_label[label] for label in sorted(self._by_label)]

    def check(self, app: str, spec: AppSpec, deployed: bool, name_of: Callable[[str], str]) -> None:
        """Raises `AlreadyExistsError` where a label that the program chose is another app's; `name_of` an id."""
        for _, _, web, label in _labels(spec, deployed):
            taken = self._by_label.get(label)
            if web.label and taken is not None and taken.app != app:
                raise AlreadyExistsError(
                    f"the label {label!r} is in use by app {name_of(taken.app)!r}; choose another label=, "
                    "or stop that one: `inrush app stop`"
                )

    def bind(self, app: str, spec: AppSpec, functions: dict[str, str], deployed: bool) -> dict[str, str]:
        """Serves an app's web functions, and no others of it. Result: `{function or function.method: url}`."""
        self.unbind(app)
        urls = {}
        for function, method, web, label in _labels(spec, deployed):
            self._by_label[label] = Endpoint(label, app, functions[function.name], method, web)
            urls[f"{function.name}.{method}" if method else function.name] = self.url(label)
        return urls

    def unbind(self, app: str) -> None:
        """The app serves nothing any more."""
        self._by_label = {label: e for label, e in self._by_label.items() if e.app != app}

    def url(self, label: str) -> str:
        """Its address."""
        return f"{self.base}/w/{label}"


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
