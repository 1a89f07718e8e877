"""`inrush container`: the running copies of functions."""

from __future__ import annotations

from typing import Any

import click

from inrush.cli import api, completing, flags
from inrush.cli.groups import Group
from inrush.cli.screen import logs, screen


@click.group(cls=Group)
def command() -> None:
    """List containers, follow their logs, run commands in them, stop them."""


@command.command("list")
@flags.environment
@click.option("--app", "--app-id", "app", shell_complete=completing.apps, help="Only containers of this app.")
@click.option("--all", "ended_too", is_flag=True, help="Include containers that ended lately.")
@flags.as_json
def list_(app: str | None, ended_too: bool, as_json: bool) -> None:
    """List containers that run or start."""
    columns = ("id", "app_name", "function_name", "state", "how", "start_ms", "gpu_type", "created", "why")
    screen.listing(api.get("/containers", app=app, all=1 if ended_too else None), as_json, columns)


@command.command("logs")
@flags.environment
@click.argument("container", shell_complete=completing.containers)
@logs.options
def show_logs(container: str, **how: Any) -> None:
    """What a container prints."""
    logs.show(f"/containers/{api.name(container)}/logs", **how)


@command.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@flags.environment
@click.argument("container", shell_complete=completing.containers)
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@flags.pty
@click.pass_context
def exec(ctx: click.Context, container: str, argv: tuple[str, ...], pty: bool | None) -> None:
    """Run a command in a running container.

    This command ends with its status.
    """
    from inrush.cli.screen import terminal

    ctx.exit(terminal.attach(f"/containers/{api.name(container)}/exec", argv, pty))


@command.command()
@flags.environment
@flags.yes
@click.option("--graceful", is_flag=True, help="Let it finish what it runs before; it takes no more.")
@flags.as_json
@click.argument("container", shell_complete=completing.containers)
def stop(container: str, yes: bool, graceful: bool, as_json: bool) -> None:
    """Stop a container. What it runs is tried again elsewhere."""
    screen.confirm(f"stop {container}?", yes)
    api.post(f"/containers/{api.name(container)}/stop", graceful=1 if graceful else None)
    done, text = ("stopping", "stops when it has finished what it runs") if graceful else ("stopped", "is stopped")
    screen.acted(done, f"{container} {text}", as_json, container=container)
