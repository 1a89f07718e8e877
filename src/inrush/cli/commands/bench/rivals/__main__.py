"""One rival, as lines of JSON: `python -m inrush.cli.commands.bench.rivals NAME FOLDER [--quick]`.

Nothing of the rival is left behind.

The rival runs in a child. This process waits for it, adopts whatever its descendants leave, and ends all of them when
the child has ended, or when it is told to end, or its own parent dies.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from inrush.linux.process import adopt_orphans, die_with_parent


def main(name: str, folder: str, *flags: str) -> int:
    """The child's status."""
    adopt_orphans()
    die_with_parent(signal.SIGTERM)
    signal.signal(signal.SIGTERM, _stop)
    child = os.fork()
    if child == 0:
        os._exit(_compete(name, folder, "--quick" in flags))
    status = 1
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except KeyboardInterrupt:
        print("it was told to end", file=sys.stderr)
    finally:
        _end_all()
    return status


def _compete(name: str, folder: str, quick: bool) -> int:
    die_with_parent(signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the rival prints is no result
    rival = importlib.import_module(f"inrush.cli.commands.bench.rivals.{name}")
    try:
        if why := rival.missing():
            print(json.dumps({"missing": why}), file=output)
            return 0
        print(json.dumps({"version": rival.version()}), file=output)
        for row, known_as, samples in rival.measure(quick, Path(folder)):
            print(json.dumps({"row": row, "as": known_as, "samples": samples}), file=output)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _stop(signum: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending already
    raise KeyboardInterrupt


def _end_all() -> None:
    """Until there is no child, and so no descendant: orphans come here."""
    while True:
        for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
