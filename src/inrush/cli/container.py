"""`inrush container`: the running copies of functions."""

from __future__ import annotations

import click

from inrush.cli import api, screen


@click.group()
def command() -> None:
    """List containers, follow their logs, run commands in them, stop them."""


@command.command("list")
@click.option("--app", help="Only those of this app.")
@click.option("--all", "ended_too", is_flag=True, help="Also those that ended lately.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for machines.")
def list_(app: str | None, ended_too: bool, as_json: bool) -> None:
    """Containers that run or start."""
    columns = ("id", "app_name", "function_name", "state", "how", "start_ms", "gpu_type", "created", "why")
    screen.listing(api.get("/containers", app=app, all=1 if ended_too else None), as_json, columns)


@command.command()
@click.argument("container")
@click.option("--follow", "-f", is_flag=True, help="Go on as lines come.")
@click.option("--lines", "-n", default=100, show_default=True, help="How many of the last lines to begin with.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def logs(container: str, follow: bool, lines: int, as_json: bool) -> None:
    """What a container prints."""
    for line in api.lines(f"/containers/{container}/logs", backlog=lines, follow=int(follow)):
        screen.log_line(line, as_json)


@command.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("container")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def exec(ctx: click.Context, container: str, argv: tuple[str, ...]) -> None:
    """Run a command in a running container; its status becomes ours. With a terminal if there is one here."""
    from inrush.cli import terminal

    ctx.exit(terminal.attach(f"/containers/{container}/exec", argv))


@command.command()
@click.argument("container")
def stop(container: str) -> None:
    """Stop a container: what it runs is tried again elsewhere."""
    api.post(f"/containers/{container}/stop")
    click.echo(f"stopped {container}")
