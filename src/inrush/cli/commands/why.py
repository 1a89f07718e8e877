"""`inrush why FUNCTION`: the scheduler's reasons, in its own words."""

from __future__ import annotations

from typing import Any

import click

from inrush.cli import api, flags
from inrush.cli.screen import screen
from inrush.errors import NotFoundError


@click.command()
@flags.environment
@click.argument("function")
@flags.as_json
def command(function: str, as_json: bool) -> None:
    """Say why FUNCTION has its containers, what its calls wait for, and what its starts cost.

    FUNCTION is app::function, or the function's name where only one app has one of that name.
    """
    app, name = _find(function)
    told = api.get(f"/functions/{api.name(app)}/{api.name(name)}/why")
    if as_json:
        screen.as_json(told)
    else:
        for line in told["lines"]:
            screen.say(line)


def _find(function: str) -> tuple[str, str]:
    app, separator, name = function.partition("::")
    if separator:
        return app, name
    having = [a for a in api.get("/apps") if function in _names(a)]
    if not having:
        raise NotFoundError(
            f"no app that runs or is deployed has a function {function!r}; `inrush app list` shows them"
        )
    if len(having) > 1:
        raise click.UsageError("several apps have it: " + ", ".join(f"{a['name']}::{function}" for a in having))
    return having[0]["name"], function


def _names(app: dict[str, Any]) -> list[str]:
    return list(app["functions"])
