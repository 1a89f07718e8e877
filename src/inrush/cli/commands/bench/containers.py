"""Containers of a measured app: none before a start from zero, so many before a map."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from inrush.cli import api
from inrush.errors import NotFoundError, TimeoutError

_LIMIT_S = 90.0
_LOOK_S = 0.02


def none_of(app: str) -> None:
    """Stop all, and wait until the server lists none; zygotes and snapshots stay."""
    deadline = time.monotonic() + _LIMIT_S
    asked: set[str] = set()
    while there := api.get("/containers", app=app):
        for id in {container["id"] for container in there} - asked:
            asked.add(id)
            with contextlib.suppress(NotFoundError):  # it ended meanwhile
                api.post(f"/containers/{id}/stop")
        _not_after(deadline, f"containers of {app} do not end: {', '.join(c['id'] for c in there[:5])}")
        time.sleep(_LOOK_S)


def gone(app: str) -> None:
    """Wait until all have ended by themselves."""
    deadline = time.monotonic() + _LIMIT_S
    while there := api.get("/containers", app=app):
        _not_after(deadline, f"{len(there)} containers of {app} have not ended by themselves")
        time.sleep(0.2)


def ready(app: str, function: str, count: int, look_s: float = _LOOK_S) -> list[dict[str, Any]]:
    """Wait until so many of a function are ready. Looking costs, too."""
    deadline = time.monotonic() + _LIMIT_S
    while len(found := [c for c in api.get("/containers", app=app) if _serves(c, function)]) < count:
        _not_after(deadline, f"{len(found)} of {count} containers of {function} are ready; see `inrush why {function}`")
        time.sleep(look_s)
    return found


def phases(id: str) -> dict[str, Any]:
    """What the server knows of the start of one."""
    told: dict[str, Any] = api.get(f"/containers/{id}")
    return told


def _serves(container: dict[str, Any], function: str) -> bool:
    return bool(container["function_name"] == function and container["state"] == "ready")


def _not_after(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(f"not within {_LIMIT_S:g} s: {what}")
