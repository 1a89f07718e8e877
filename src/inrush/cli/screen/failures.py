"""How errors end a command: a message for mistakes, a traceback for code that is not ours, and the process's status.

- what inrush raises on purpose: its message, and the line of the user's program that led to it, status 1
- a wrong flag or argument: click's message and usage, status 2
- an exception of the user's program, here or in a container: its traceback without the frames of inrush, status 1
- Ctrl-C: status 130; a reader of our output that has gone: 1, without a word (click sees to it)
"""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from inrush.cli.screen import screen
from inrush.errors import Error, InternalError

INTERRUPTED = 130
_OURS = str(Path(__file__).parents[2])
_STDLIB = sysconfig.get_path("stdlib")


class ProgramError(Exception):
    """The user's program raised; `__cause__` is what it raised."""


def status_of(command: click.Command, args: Sequence[str] | None = None) -> int:
    """Runs `command` and says with which status the process should end."""
    try:
        status = command.main(args, prog_name="inrush", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except ProgramError as error:
        return report(error.__cause__ or error, of_program=True)
    except Error as error:
        return report(error)
    return status if isinstance(status, int) else 0


def report(error: BaseException, of_program: bool = False) -> int:
    """Shows an error to people on stderr, and returns the exit status. Of one `of_program` is told which line of the
    program led to it."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, SystemExit):
        return _status_of_exit(error)
    if isinstance(error, Error) and not isinstance(error, InternalError):
        if remote := _remote_traceback(error):
            screen.say(remote, err=True)
        screen.say(f"{click.style('error:', fg='red')} {str(error) or type(error).__name__}", err=True)
        if of_program and (place := _place(error)):
            screen.say(place, err=True)
        for note in getattr(error, "__notes__", ()):
            screen.say(note, err=True)
        return 1
    screen.say(readable(error), err=True)
    if isinstance(error, ModuleNotFoundError) and not _remote_traceback(error):
        screen.say(
            "what only the image has is imported inside functions, or under `with image.imports():`; "
            "everything else this Python has to have too",
            err=True,
        )
    return 1


def _place(error: BaseException) -> str:
    """The last line of the user's program on the way to an error; empty where there is none."""
    users = _users_frames(traceback.extract_tb(error.__traceback__))
    if not users:
        return ""
    last = users[-1]
    return f"  {last.filename}:{last.lineno}, in {last.name}" + (f": {last.line}" if last.line else "")


def readable(error: BaseException) -> str:
    """The traceback of an exception and its causes, with the user's frames only. Where a function ran without a program
    around it, the traceback from its container is enough."""
    remote = _remote_traceback(error)
    if remote and not _users_frames(traceback.extract_tb(error.__traceback__)):
        return remote
    described = traceback.TracebackException.from_exception(error)
    _keep_users_frames(described)
    return "".join(described.format()).rstrip()


def _remote_traceback(error: BaseException) -> str:
    """The traceback of an error in a container; empty for other errors."""
    from inrush.client._traceback import RemoteTraceback

    return error.__cause__.text.strip() if isinstance(error.__cause__, RemoteTraceback) else ""


def _keep_users_frames(described: traceback.TracebackException) -> None:
    users = _users_frames(described.stack)
    if users:
        described.stack = traceback.StackSummary.from_list(users)
    elif described.exc_type is SyntaxError:  # it says itself where it is; only our import stands around it
        described.stack = traceback.StackSummary()
    for inner in (described.__cause__, described.__context__, *(described.exceptions or ())):
        if inner is not None:
            _keep_users_frames(inner)


def _users_frames(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """The frames without those of inrush, and without those of the standard library that inrush called."""
    kept, below_ours = [], True
    for frame in frames:
        if frame.filename.startswith(_OURS):
            below_ours = True
        elif not (below_ours and _is_standard_library(frame.filename)):
            kept.append(frame)
            below_ours = False
    return kept


def _is_standard_library(path: str) -> bool:
    return path.startswith("<frozen ") or (path.startswith(_STDLIB) and "site-packages" not in path)


def _status_of_exit(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    screen.say(error.code, err=True)
    return 1
