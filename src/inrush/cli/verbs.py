"""The table of verbs, and the root command that loads one of them when it is called.

`inrush --help` reads only this table, so it is as fast as importing click.
"""

from __future__ import annotations

import importlib

import click

from inrush.cli.groups import Group

VERBS = {
    "run": "Run a program: its functions in containers, for as long as it runs.",
    "deploy": "Deploy an app: its functions and endpoints stay callable until it is stopped.",
    "serve": "Serve endpoints while you edit: reloads on every change, ends with Ctrl-C.",
    "call": "Call a function of a deployed app, and print its result.",
    "app": "List apps, follow their logs, stop them.",
    "function": "Show what a function asks for and does, follow its logs, change how it scales.",
    "container": "List containers, follow their logs, run commands in them, stop them.",
    "shell": "Open a shell in a fresh container, of a function or of your own making.",
    "why": "Say why a function has the containers that it has, and what its calls wait for.",
    "pool": "List pools of nodes: what is there, what is on its way, and what is out of stock.",
    "secret": "Create, list and delete secrets.",
    "environment": "List, create and delete environments.",
    "token": "Create, list and revoke tokens.",
    "audit": "Who did what: deploys, stops, secrets, tokens, commands in containers.",
    "dict": "List and create dicts, look into them, clear and delete them.",
    "server": "Run the server, ask for its status, stop it, read its log.",
    "backup": "Back up the server's state to a file, while it runs.",
    "restore": "Restore a backup into a home that has no state.",
    "doctor": "Check what this machine can do, what it cannot do, and why.",
    "config": "Show all settings, with where each came from.",
    "sim": "Simulate the scheduler in virtual time, with made-up nodes and traffic.",
    "bench": "Benchmark this machine, beside what other systems reach on it.",
}


_ELSEWHERE = {
    "changelog": "CHANGELOG.md of the repository has it",
    "curl": "`inrush app list` shows the URLs of endpoints, and curl fetches them",
    "profile": "a server and its token are settings: INRUSH_SERVER_URL and INRUSH_TOKEN, or config.toml",
    "queue": "queues are not built yet; functions are called with .spawn, and values shared by a Dict",
    "sandbox": "sandboxes are not built yet; `inrush shell` has a container of its own",
    "setup": "nothing needs to be set up: `inrush run FILE` starts a server, `inrush doctor` looks at this machine",
    "volume": "volumes are not built yet; files go into the image, and values into a Dict",
}
"""What users of Modal type that is otherwise here."""


class Verbs(Group):
    """A group whose commands are modules of this package."""

    elsewhere = _ELSEWHERE

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"inrush.cli.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def _print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from inrush.cli.screen import screen

        screen.say(f"inrush {version('inrush')}")
        ctx.exit()


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def root() -> None:
    """Python functions in isolated containers, with the GPUs they ask for, from zero in milliseconds."""
