"""Names that a shell completes: apps, their functions, and containers, as the server lists them now."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from inrush.cli import api
from inrush.errors import Error


def apps(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Apps by name, or by id where that is what was begun."""
    key = "id" if incomplete.startswith("ap-") else "name"
    return _beginning(incomplete, [app[key] for app in _asked("/apps")])


def functions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Functions as APP::FUNCTION."""
    named = [f"{app['name']}::{function}" for app in _asked("/apps") for function in app["functions"]]
    return _beginning(incomplete, named)


def containers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Ids of containers."""
    return _beginning(incomplete, [container["id"] for container in _asked("/containers")])


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def _asked(path: str) -> list[dict[str, Any]]:
    """What the server says; nothing where none runs, since an error would stand in the line that is typed."""
    with contextlib.suppress(Error, OSError):
        return list(api.get(path))
    return []
