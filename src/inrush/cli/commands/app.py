"""`inrush app`: what runs and what is deployed."""

from __future__ import annotations

from typing import Any

import click

from inrush.cli import api, completing, flags
from inrush.cli.groups import Group
from inrush.cli.screen import logs, screen
from inrush.client import _urls


@click.group(cls=Group)
def command() -> None:
    """List apps and their versions, follow their logs, go back to an earlier version, renew and stop them."""


@command.command("list")
@flags.environment
@click.option("--all", "ended_too", is_flag=True, help="Include apps that ended lately.")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="Show at most so many, the latest; 0 shows all.")
@flags.as_json
def list_(ended_too: bool, limit: int, as_json: bool) -> None:
    """List apps that run or are deployed."""
    apps = api.get("/apps", all=1 if ended_too else None)[-limit:]  # all of them where limit is 0
    screen.listing(apps, as_json, ("name", "id", "state", "version", "functions", "containers", "created"))
    if not as_json:
        for app in [app for app in apps if not app["ended"]]:
            for line in screen.located(_urls.by_path(app), _urls.by_host(app)):
                screen.say(f"{app['name']}: {line}")


@command.command("logs")
@flags.environment
@click.argument("app", shell_complete=completing.apps)
@logs.options
@click.option(
    "--function", metavar="NAME", shell_complete=completing.bare_functions, help="Only lines of this function."
)
@click.option("--container", metavar="ID", shell_complete=completing.containers, help="Only lines of this container.")
def show_logs(app: str, **how: Any) -> None:
    """What an app's containers print.

    APP is its name or id. With --follow this ends when the app has ended.
    """
    logs.show(f"/apps/{api.name(app)}/logs", **how)


@command.command()
@flags.environment
@flags.as_json
@click.argument("app", shell_complete=completing.apps)
def history(app: str, as_json: bool) -> None:
    """List the versions of a deployed app, the latest first.

    APP is its name or id. The last 20 are kept.
    """
    versions = api.get(f"/apps/{api.name(app)}/versions")
    screen.listing(versions, as_json, ("number", "id", "created", "serves", "tag"))


@command.command()
@flags.environment
@click.argument("app", shell_complete=completing.apps)
@click.argument("version", required=False)
@flags.strategy
@flags.as_json
def rollback(app: str, version: str | None, strategy: str, as_json: bool) -> None:
    """Deploy an earlier version of an app again.

    VERSION is its number (3 or v3); by default it is the one before the one that serves. It becomes a new version, and
    takes the traffic once its containers start, as after `inrush deploy`.
    """
    number = (version or "").removeprefix("v")
    if version is not None and not number.isdecimal():
        raise click.UsageError(f"{version} is no version: `inrush app history {app}` lists them")
    body = {"version": int(number) if number else None, "strategy": strategy}
    now = api.post(f"/apps/{api.name(app)}/rollback", body, patient=True)
    _serves("rolled back", now, as_json)


@command.command()
@flags.environment
@click.argument("app", shell_complete=completing.apps)
@flags.strategy
@flags.as_json
def rollover(app: str, strategy: str, as_json: bool) -> None:
    """Renew all containers of a deployed app.

    The code stays the same, and becomes a new version. With the strategy rolling, old containers stop when new ones
    are ready.
    """
    now = api.post(f"/apps/{api.name(app)}/rollover", {"strategy": strategy}, patient=True)
    _serves("rolled over", now, as_json)


def _serves(done: str, app: dict[str, Any], as_json: bool) -> None:
    about = {"app": app["id"], "name": app["name"], "version": app["version"]}
    screen.acted(done, f"version {app['version']} of {app['name']} serves", as_json, **about)


@command.command()
@flags.environment
@flags.as_json
@click.argument("app", shell_complete=completing.apps)
def info(app: str, as_json: bool) -> None:
    """Show what an app is and what its functions do. APP is its name or id."""
    told = api.get(f"/apps/{api.name(app)}")
    if as_json:
        screen.as_json(told)
        return
    functions = told.pop("details")
    hidden = ("urls", "pages", *(() if told["ended"] else ("ended",)))
    screen.facts({name: value for name, value in told.items() if name not in hidden and value != ""})
    for line in screen.located(_urls.by_path(told), _urls.by_host(told)):
        screen.say(line)
    screen.say()
    screen.listing(functions, False, ("name", "containers", "running_inputs", "backlog", "waiting"))


@command.command()
@flags.environment
@flags.yes
@flags.as_json
@click.argument("app", shell_complete=completing.apps)
def stop(app: str, yes: bool, as_json: bool) -> None:
    """Stop an app. Its calls are cancelled, its containers get their grace, its endpoints go."""
    screen.confirm(f"stop {app}, and cancel its calls?", yes)
    api.post(f"/apps/{api.name(app)}/stop")
    screen.acted("stopped", f"stopped {app}", as_json, app=app)
