"""`inrush why FUNCTION`: the scheduler's reasons, in its own words."""

from __future__ import annotations

from typing import Any

import click

from inrush.cli import api, completing, flags
from inrush.cli.screen import screen
from inrush.errors import NotFoundError


@click.command()
@flags.environment
@click.argument("function", shell_complete=completing.functions)
@flags.as_json
def command(function: str, as_json: bool) -> None:
    """Say why FUNCTION has its containers, what its calls wait for, and what its starts cost.

    FUNCTION is APP::FUNCTION, where APP is a name or an id, also of an app that ended lately; or APP alone, for all its
    functions; or the function's name where only one app has one of that name.
    """
    found = [_why(app, name) for app, name in _find(function)]
    if as_json:
        screen.as_json(found if len(found) > 1 else found[0])
        return
    for told in found:
        if len(found) > 1:
            screen.say(f"{told['function']}:")
        for line in told["lines"]:
            screen.paragraph("  " if len(found) > 1 else "", line)


def _why(app: str, name: str) -> dict[str, Any]:
    return {"function": name, **api.get(f"/functions/{api.name(app)}/{api.name(name)}/why")}


def _find(function: str) -> list[tuple[str, str]]:
    """Pairs of an app and a function of it."""
    app, separator, name = function.partition("::")
    if separator:
        return [(app, name)]
    having = [a for a in api.get("/apps") if function in a["functions"]]
    if len(having) > 1:
        raise click.UsageError("several apps have it: " + ", ".join(f"{a['id']}::{function}" for a in having))
    if having:
        return [(having[0]["id"], function)]
    try:
        told = api.get(f"/apps/{api.name(function)}")
    except NotFoundError:
        raise NotFoundError(
            f"no app that runs or is deployed has a function {function!r}, and none has that name or id; "
            "`inrush app list --all` shows them"
        ) from None
    if not told["functions"]:
        raise NotFoundError(f"app {function!r} has no functions")
    return [(told["id"], name) for name in told["functions"]]
