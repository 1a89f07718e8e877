"""Programs that builds run on the node itself, as the agent and with its rights: package tools that only fetch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from uv import find_uv_bin

from inrush.agent.images.build import TAIL_LINES, clean
from inrush.agent.images.once import Progress

TIMEOUT_S = 900.0


def uv() -> str:
    """Path of the uv that came with inrush."""
    return str(find_uv_bin())


async def run(argv: Sequence[str], env: Mapping[str, str], progress: Progress) -> tuple[int, list[str]]:
    """Run a program to its end; gives its status and the last lines of its output. Raises `FileNotFoundError`."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            assert process.stdout is not None
            async for raw in process.stdout:
                for line in clean(raw):
                    tail.append(line)
                    progress("line", line)
            status = await process.wait()
    except TimeoutError:
        return 124, [*tail, f"it ran longer than {TIMEOUT_S:g} s and was stopped"]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return status, list(tail)
