"""Names that a shell completes: of apps, functions, containers and whatever else the server lists now."""

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


def secrets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Secrets by name."""
    return _beginning(incomplete, [secret["name"] for secret in _asked("/secrets")])


def dicts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Dicts by name."""
    return _beginning(incomplete, [found["name"] for found in _asked("/dicts")])


def environments(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Environments by name."""
    return _beginning(incomplete, [found["name"] for found in _asked("/environments")])


def tokens(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Tokens by name."""
    return _beginning(incomplete, [token["name"] for token in _asked("/tokens")])


def bare_functions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Functions without their app, which click does not know before the line is whole."""
    return _beginning(incomplete, [function for app in _asked("/apps") for function in app["functions"]])


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def _asked(path: str) -> list[dict[str, Any]]:
    """What the server says; nothing where none runs, since an error would stand in the line that is typed."""
    with contextlib.suppress(Error, OSError):
        return list(api.get(path))
    return []
