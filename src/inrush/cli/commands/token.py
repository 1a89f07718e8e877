"""`inrush token`: who may use the server from elsewhere, where, and for how long."""

from __future__ import annotations

import re

import click

from inrush import settings
from inrush.cli import api, completing, flags
from inrush.cli.groups import Group
from inrush.cli.screen import screen

_RIGHTS = ("admin", "deploy", "call", "read")
_UNITS_S = {"h": 3600, "d": 86400, "w": 7 * 86400}


@click.group(cls=Group)
def command() -> None:
    """Create, list and revoke tokens."""
    api.start_if_none()


@command.command()
@flags.environment
@click.argument("name")
@click.option(
    "--right",
    "rights",
    multiple=True,
    type=click.Choice(_RIGHTS),
    help="A right of the token; may be given several times.",
)
@click.option("--all-environments", is_flag=True, help="For all environments, instead of one.")
@click.option("--expires", metavar="TIME", default="90d", show_default=True, help="12h, 30d, 8w, or never.")
@flags.as_json
def create(name: str, rights: tuple[str, ...], all_environments: bool, expires: str, as_json: bool) -> None:
    """Create a token and print it, this once.

    It is for one environment, and without --right it may call and read.
    """
    environment = "" if all_environments else settings.load()["environment"].value or "main"
    body = {
        "name": name,
        "rights": rights or ("call", "read"),
        "environment": environment,
        "lasts_s": _seconds(expires),
    }
    made = api.post("/tokens", body)
    about = {field: made[field] for field in ("name", "id", "environment", "rights", "created", "expires")}
    screen.acted("created", made["token"], as_json, token=made["token"], **about)


@command.command("list")
@flags.as_json
def list_(as_json: bool) -> None:
    """Tokens and what they may."""
    found = api.get("/tokens")
    if not as_json:
        found = [{**token, "environment": token["environment"] or "(all)"} for token in found]
    screen.listing(found, as_json, ("name", "id", "environment", "rights", "created", "expires"))


@command.command()
@flags.yes
@flags.as_json
@click.argument("token", shell_complete=completing.tokens)
def revoke(token: str, yes: bool, as_json: bool) -> None:
    """Revoke a token by its name or id.

    Whoever uses it is cut off.
    """
    screen.confirm(f"revoke the token {token}, and cut off whoever uses it?", yes)
    api.delete(f"/tokens/{api.name(token)}")
    screen.acted("revoked", f"revoked {token}", as_json, token=token)


def _seconds(text: str) -> float:
    if text == "never":
        return 0.0
    match = re.fullmatch(r"(\d+)([hdw])", text)
    if match is None or not int(match[1]):
        raise click.UsageError(f"--expires {text}: write 12h, 30d, 8w or never")
    return float(int(match[1]) * _UNITS_S[match[2]])
