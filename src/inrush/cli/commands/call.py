"""`inrush call`: one call of a function of a deployed app."""

from __future__ import annotations

from typing import Any

import click

from inrush.cli import completing, flags


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@flags.environment
@flags.as_json
@click.argument("target", metavar="APP::FUNCTION", shell_complete=completing.functions)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
def command(target: str, words: tuple[str, ...], as_json: bool) -> None:
    """Call a function of a deployed app, or a method (APP::Class.method), and print its result.

    ARGS are its arguments: `inrush call chat::answer --question why --tokens 100 --fast`. What is JSON is read as JSON,
    anything else is text; parameters of a class are given in the same way. Options of this command stand before
    APP::FUNCTION.
    """
    from inrush.cli.programs import words as reading
    from inrush.cli.screen import failures, output, screen

    app, separator, name = target.partition("::")
    if not separator or not app or not name:
        raise click.UsageError(f"{target!r} is not APP::FUNCTION; `inrush app list` shows apps and their functions")
    positional, named = reading.parse(words)
    show = screen.as_json if as_json else screen.say
    with output.shown():
        function, yields, named = _find(app, name, named)
        try:
            if yields:
                for item in function.remote_gen(*positional, **named):
                    show(item)
                return
            result = function.remote(*positional, **named)
        except Exception as error:
            raise failures.ProgramError(name) from error
    if result is not None or as_json:
        show(result)


def _find(app: str, name: str, named: dict[str, Any]) -> tuple[Any, bool, dict[str, Any]]:
    """The function, whether it yields, and the arguments that are not parameters of its class."""
    import inrush

    class_name, separator, method = name.partition(".")
    if not separator:
        function = inrush.Function.from_name(app, name).hydrate()
        spec = function.reference.spec
        return function, spec is not None and "" in spec.generators, named
    cls = inrush.Cls.from_name(app, class_name).hydrate()
    spec = cls.reference.spec
    if spec is not None and method not in spec.methods:
        raise click.UsageError(f"{class_name} has no method {method!r}; it has {', '.join(spec.methods) or 'none'}")
    own = {parameter.name for parameter in spec.parameters} if spec is not None else set()
    instance = cls(**{key: value for key, value in named.items() if key in own})
    rest = {key: value for key, value in named.items() if key not in own}
    return getattr(instance, method), spec is not None and method in spec.generators, rest
