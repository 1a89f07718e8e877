"""Groups of commands: an unknown name is answered with the one that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import click


class Group(click.Group):
    """A group that suggests: `inrush depoy` names `deploy`. `elsewhere` says, for a name that people know from other
    tools, what does the same here."""

    elsewhere: Mapping[str, str] = {}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it. A usage error names commands that are spelled alike."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            if name in self.elsewhere:
                raise click.UsageError(f"there is no command {name!r} here: {self.elsewhere[name]}", ctx)
            near = difflib.get_close_matches(name, self.list_commands(ctx), n=2, cutoff=0.6)
            meant = f"; did you mean {' or '.join(f'`{ctx.command_path} {one}`' for one in near)}?" if near else ""
            known = "" if near else f"; there are {', '.join(self.list_commands(ctx))}"
            raise click.UsageError(f"there is no command {name!r} of {ctx.command_path}{meant}{known}", ctx)
        return super().resolve_command(ctx, args)


Group.group_class = Group
