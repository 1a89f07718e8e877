"""Functions as plain processes of this machine, with no isolation at all: only by the setting `isolation = "process"`.

For machines where no container can be made (no root and no user namespaces). User code runs as the server's user, with
its files and its network; the image is not used, and the interpreter is the server's own.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import inrush
from inrush.agent.containers.processes import Stdio
from inrush.launcher.specs import Exited
from inrush.linux import descriptors

WARNING = (
    'isolation is "process": functions run without any isolation, as the server\'s own user; '
    'set isolation = "container" for anything but a trial'
)


class LocalProcess:
    """A guest as a child of this process, in a process group and a working directory of its own."""

    def __init__(self, id: str, child: asyncio.subprocess.Process, directory: Path) -> None:
        self._id = id
        self._child = child
        self._directory = directory

    async def wait(self) -> Exited:
        code = await self._child.wait()
        self.kill()  # what it left behind in its group
        await asyncio.to_thread(shutil.rmtree, self._directory, True)
        return Exited(self._id, max(code, 0), signal=-code if code < 0 else 0)

    def kill(self) -> None:
        try:
            os.killpg(self._child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return


async def start(id: str, stdio: Stdio, env: Mapping[str, str], sources: Sequence[Path]) -> LocalProcess:
    """A guest whose `sys.path` begins with `/root` of each of `sources` (unpacked archives)."""
    directory = Path(tempfile.mkdtemp(prefix="inrush-"))
    library = str(Path(inrush.__file__).parent.parent)
    path = [*(str(source / "root") for source in sources), library, env.get("PYTHONPATH", "")]
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "inrush.guest", str(stdio.guest)),
            env={**env, "PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": os.pathsep.join(filter(None, path))},
            cwd=directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdio.stdout,
            stderr=stdio.stderr,
            pass_fds=(stdio.guest,),
            start_new_session=True,
        )
    except BaseException:  # also where the start is cancelled
        shutil.rmtree(directory, ignore_errors=True)
        raise
    resource.prlimit(child.pid, resource.RLIMIT_NOFILE, descriptors.GIVEN)
    return LocalProcess(id, child, directory)
