"""Every setting as an option of a command, so that it has one name in file, environment and flag."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar

import click

from inrush import settings
from inrush.cli import completing
from inrush.errors import NotFoundError

Command = TypeVar("Command", bound=Callable[..., Any])

_OF_CLIENTS = ("server_url", "token", "environment", "max_payload_mib", "force_build")
"""Settings that a program itself uses. All others are the server's, from its start on."""


def all_settings(command: Command) -> Command:
    """Decorator that adds an option for each setting. They arrive as keyword arguments, None where not given."""
    for setting in reversed(settings.SETTINGS):
        command = _option(setting)(command)
    return command


def client_settings(command: Command) -> Command:
    """The same for the settings that programs themselves use; those of the server are given where it starts."""
    for setting in reversed(settings.SETTINGS):
        command = _option(setting, hidden=setting.name not in _OF_CLIENTS)(command)
    return command


def as_json(command: Command) -> Command:
    """Decorator: `--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")(command)


def strategy(command: Command) -> Command:
    """Decorator: `--strategy`, for commands that replace the version of an app that serves."""
    return click.option(
        "--strategy",
        type=click.Choice(["rolling", "recreate"]),
        default="rolling",
        show_default=True,
        help="rolling: old containers finish what they run; recreate: they are stopped, and it runs again.",
    )(command)


def yes(command: Command) -> Command:
    """Decorator: `-y`, for commands that destroy something and ask before."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask before.")(command)


def allow_missing(command: Command) -> Command:
    """Decorator: `--allow-missing`, for commands that delete something."""
    return click.option("--allow-missing", is_flag=True, help="Succeed also if there is none of that name.")(command)


def gone(missing_too: bool, delete: Callable[[], object]) -> bool:
    """Whether `delete` deleted something. That there was nothing is no error if it was `missing_too`."""
    try:
        delete()
    except NotFoundError:
        if not missing_too:
            raise
        return False
    return True


def pty(command: Command) -> Command:
    """Decorator: `--pty`, for commands that run others in containers; None where it was not given."""
    what = "Give the command a terminal, or none; by default it has one if there is one here."
    return click.option("--pty/--no-pty", default=None, help=what)(command)


def environment(command: Command) -> Command:
    """Decorator: `-e`, for commands that look after things. The API is asked in that environment from then on."""
    return click.option(
        "-e",
        "--env",
        "--environment",
        "environment",
        metavar="NAME",
        expose_value=False,
        callback=_use_environment,
        shell_complete=completing.environments,
        help="Environment to look in (the setting `environment`, else the token's own, else main).",
    )(command)


def _use_environment(ctx: click.Context, param: click.Parameter, name: str | None) -> None:
    if name:
        os.environ["INRUSH_ENVIRONMENT"] = name


def _option(setting: settings.Setting, hidden: bool = False) -> Callable[[Command], Command]:
    name = "--" + setting.name.replace("_", "-")
    kind = type(setting.default)
    meaning = setting.meaning if setting.default in ("", 0, False) else f"{setting.meaning} ({setting.default})"
    if kind is bool:
        return click.option(f"{name}/--no-{name[2:]}", setting.name, default=None, help=meaning, hidden=hidden)
    names = ("-e", "--env", name) if setting.name == "environment" else (name,)
    value = kind.__name__.upper()
    return click.option(*names, setting.name, type=kind, default=None, metavar=value, help=meaning, hidden=hidden)


def for_a_program(given: dict[str, Any]) -> None:
    """Applies the flags of a program, and says where that takes a moment (a server starts) or changes nothing (a server
    runs already)."""
    from inrush.cli import api
    from inrush.cli.screen import screen

    values = apply(given)
    late = [f"--{name.replace('_', '-')}" for name, raw in given.items() if raw is not None and name not in _OF_CLIENTS]
    if values["server_url"].value:
        return
    if api.local_server() is None:
        if sys.stderr.isatty():
            screen.note("no server runs here yet: starting one in the background")
    elif late:
        screen.warn(
            f"{', '.join(late)} changes nothing: a server runs already, with settings of its own; "
            f"what stands in {settings.home() / 'config.toml'} applies from its next start on"
        )


def apply(flags: dict[str, Any], environ: MutableMapping[str, str] = os.environ) -> dict[str, settings.Value]:
    """All settings with these flags on top. The flags are put into the environment too, for the SDK and for a server
    that it starts."""
    values = settings.load(flags, environ)
    for name, raw in flags.items():
        if raw is not None:
            environ[f"INRUSH_{name.upper()}"] = str(raw).lower() if isinstance(raw, bool) else str(raw)
    return values
