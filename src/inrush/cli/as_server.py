"""Work on a home with the rights of its server, and no more.

What is in a home that root's server has belongs to a user without rights, who must not lead root's commands to other
files. So such work runs in a child process that becomes this user, and may write to the home alone.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from inrush.errors import Error, InternalError, from_code

T = TypeVar("T")


class _Failed(msgspec.Struct):
    code: str
    message: str


def user_of(home: Path) -> int:
    """The user that a home's server runs as. Raises `FileNotFoundError`."""
    info = os.stat(home)
    return info.st_uid or info.st_gid


def run(home: Path, uid: int, work: Callable[[], T], kind: Any) -> T:
    """The result of `work`, which is of the type `kind` that msgspec can encode. Errors of ours are raised here too."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _work(home, uid, work, writing)
    os.close(writing)
    with open(reading, "rb") as answers:
        answer = answers.read()
    os.waitpid(pid, 0)
    if not answer:
        raise InternalError("the process that worked on the home ended early; was it killed?")
    done, failed = msgspec.msgpack.decode(answer, type=tuple[kind | None, _Failed | None])
    if failed is not None:
        raise from_code(failed.code, failed.message)
    return cast(T, done)


def _work(home: Path, uid: int, work: Callable[[], object], answers: int) -> None:
    """The child: it answers and ends."""
    from inrush.launcher.rights import drop_privileges

    answer: tuple[object, _Failed | None]
    try:
        drop_privileges(home, uid)
        answer = work(), None
    except Error as error:
        answer = None, _Failed(type(error).__name__, str(error))
    except OSError as error:
        answer = None, _Failed("InvalidError", f"{error.filename or home} cannot be used: {error.strerror}")
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    with open(answers, "wb") as file:
        file.write(msgspec.msgpack.encode(answer))
    os._exit(0)
