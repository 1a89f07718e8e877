"""`inrush shell`: a look around where a function would run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from inrush.cli import api, flags, inside

if TYPE_CHECKING:
    from inrush import App, Image


class Place(NamedTuple):
    """What a container of no function is made of."""

    image: str
    gpu: str | None
    secrets: tuple[str, ...]
    cpu: float | None
    memory: int | None
    add_local: tuple[Path, ...]

    @property
    def given(self) -> list[str]:
        """The options that were given."""
        return [f"--{name.removesuffix('s').replace('_', '-')}" for name, value in self._asdict().items() if value]


class Shell(click.Command):
    """Takes options before and directly behind the target (`shell FILE -c LINE`); what follows is the command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it, once options behind the target have been moved to the front."""
        behind = self._words(ctx, args)[1:]
        if behind and behind[0].startswith("-") and behind[0] != "--":
            command = self._words(ctx, behind)
            before, options = args[: len(args) - len(behind)], behind[: len(behind) - len(command)]
            args = [*options, *before, *command]
        return super().parse_args(ctx, args)

    def _words(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What follows the leading options."""
        found, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        target, argv = found.get("target"), found.get("argv")
        return [*([target] if isinstance(target, str) else []), *(argv if isinstance(argv, tuple) else ())]


@click.command(cls=Shell, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-c", "--cmd", metavar="COMMAND", help="Run this line in a shell, instead of opening one.")
@click.option(
    "--image",
    default="",
    metavar="IMAGE",
    help="Without a function: host (the default), debian_slim or debian_slim:3.12.",
)
@click.option("--gpu", metavar="GPU", help="Without a function: a GPU, as gpu= takes it: A10G, A100:2.")
@click.option(
    "--secret", "secrets", multiple=True, help="Without a function: a secret by name; several times for more."
)
@click.option("--cpu", type=float, help="Without a function: cpu cores.")
@click.option("--memory", type=int, help="Without a function: MiB of memory.")
@click.option(
    "--add-local",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Without a function: a file or folder, which is then below /mnt; several times for more.",
)
@click.option("-m", "--module", is_flag=True, help="FILE is a module: package.module::FUNCTION.")
@flags.pty
@flags.client_settings
@click.argument("target", required=False, metavar="[FILE::FUNCTION]")
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    target: str | None,
    argv: tuple[str, ...],
    cmd: str | None,
    pty: bool | None,
    module: bool,
    **given: Any,
) -> None:
    """Open a shell, or run COMMAND, in a fresh container of a function or class, with its image, files, environment and
    limits.

    The function is FILE::FUNCTION, or APP::FUNCTION for a deployed app. Without one, the container is made of what
    the options say. With the id of a container that runs, the shell is in that one.
    """
    from inrush.cli.screen import output, terminal

    place = Place(*(given.pop(name) for name in Place._fields))
    flags.for_a_program(given)
    if cmd is not None:
        argv = ("/bin/sh", "-c", cmd)
    if target is not None and place.given:
        raise click.UsageError(f"{', '.join(place.given)} is for a shell without a function; {target} says it itself")
    path, _, name = (target or "").partition("::")
    if path.startswith("co-") and not name:
        ctx.exit(terminal.attach(f"/containers/{api.name(path)}/exec", argv, pty))
    if target is not None and not module and not Path(path).is_file():
        if not name:
            raise click.UsageError(f"{target!r} is neither FILE::FUNCTION nor APP::FUNCTION")
        ctx.exit(terminal.attach("/shell", argv, pty, app=path, name=name))
    if target is None:
        ctx.exit(_without_function(place, argv, pty))
    app, name = _in_file(target, module)
    with output.shown(), app.run():
        status = terminal.attach("/shell", argv, pty, quiet=True, app=app.app_id or "", name=name)
    ctx.exit(status)


def _in_file(target: str, module: bool) -> tuple[App, str]:
    from inrush.cli.programs import programs

    app, wanted = programs.load(target, module).app()
    names = [*app.registered_functions, *app.registered_classes]
    if not wanted and len(names) == 1:
        wanted = names[0]
    if wanted.partition(".")[0] not in names:
        path = target.partition("::")[0]
        raise click.UsageError("name one function: " + ", ".join(f"{path}::{name}" for name in names))
    return app, wanted.partition(".")[0]


def _without_function(place: Place, argv: tuple[str, ...], pty: bool | None) -> int:
    """Runs the command in a container that is made of the options."""
    import inrush
    from inrush.cli.programs import programs
    from inrush.cli.screen import output, terminal

    where = programs.load(str(Path(inside.__file__ or "").parent / "shell_place.py")).module.where
    app = inrush.App("shell")
    app.function(
        name="shell",
        image=_with_files(_image(place.image), place.add_local),
        gpu=place.gpu,
        secrets=[inrush.Secret.from_name(name) for name in place.secrets],
        cpu=place.cpu,
        memory=place.memory,
    )(where)
    with output.shown(), app.run():
        status = terminal.attach("/shell", argv, pty, quiet=True, app=app.app_id or "", name="shell")
    return status


def _with_files(image: Image, paths: tuple[Path, ...]) -> Image:
    for path in paths:
        to = f"/mnt/{path.resolve().name}"
        image = image.add_local_dir(path, to) if path.is_dir() else image.add_local_file(path, to)
    return image


def _image(name: str) -> Image:
    import inrush

    base, _, version = name.partition(":")
    if base in ("", "host") and not version:
        return inrush.Image.host()
    if base == "debian_slim":
        return inrush.Image.debian_slim(version or None)
    raise click.UsageError(
        f"--image {name}: images of registries are not built yet; there are host, and debian_slim:3.12 with this Python"
    )
