"""Runs package tools on the node itself, with the agent's rights. They only download."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from uv import find_uv_bin

from inrush.agent.images.build import TAIL_LINES, clean
from inrush.agent.images.once import Progress

TIMEOUT_S = 900.0


def uv() -> str:
    """The path of the uv that was installed with inrush."""
    return str(find_uv_bin())


async def run(argv: Sequence[str], env: Mapping[str, str], progress: Progress) -> tuple[int, list[str]]:
    """Runs a program to its end, and returns its status and last lines of output. Raises `FileNotFoundError`."""
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
