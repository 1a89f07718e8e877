"""Stores of their own, for what would disturb others: killed servers, full disks, budgets."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.images.imaging import images, run, step, tar_of
from inrush.agent.images import bases
from inrush.errors import InternalError, ResourceExhaustedError
from inrush.wire import MAIN, Recipe

_BUILDS = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from agent.images.imaging import images, run

async def main():
    async with images(Path(sys.argv[1])) as made:
        await made.build(run("echo first > /first"))
        half = made.build(run("echo first > /first"), run("echo half > /half; echo begun; sleep 600"))
        building = asyncio.create_task(half)
        while ("line", "begun") not in made.said:
            await asyncio.sleep(0.01)
        print("begun", flush=True)
        await building

asyncio.run(main())
"""


def test_a_server_that_is_killed_in_a_build_leaves_nothing_half_built(state: Path) -> None:
    command = [sys.executable, "-c", _BUILDS, str(state), *sys.path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list((state / "node/layers").glob(".tmp-*"))

    async def after() -> None:
        async with images(state) as made:
            assert made.leftovers() == []
            half = Recipe(
                base="host", steps=(run("echo first > /first"), run("echo half > /half; echo begun; sleep 600"))
            )
            assert made.store.find(half, MAIN) is None
            image = await made.build(run("echo first > /first"), run("test ! -e /half"))
            assert made.lines("cached") == ["[1/2] run echo first > /first"]
            assert await made.run(image, "cat", "/first") == "first\n"

    asyncio.run(_when_free(state, after))


def test_a_full_disk_fails_the_build_in_words_and_leaves_nothing(state: Path) -> None:
    place = state / "node/layers"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(place)], check=True)

    async def fill() -> None:
        async with images(state, free_floor_mib=4) as made:
            await made.build(run("echo small > /small"))
            big = made.blobs.put(tar_of({"big": bytes(40 << 20)}))
            for filler in (run("head -c 100M /dev/zero > /big"), step("copy", files=[("big", big)])):
                with pytest.raises(ResourceExhaustedError, match=rf"{place} is full: \d+ MiB are free"):
                    await made.build(run("echo small > /small"), filler)
                assert made.leftovers() == []
            (place / ".tmp-other").write_bytes(os.urandom(21 << 20))
            with pytest.raises(ResourceExhaustedError, match="4 MiB must stay free"):
                await made.build(run("echo small > /small"), run("true"))
            assert await made.run(await made.build(run("echo small > /small")), "cat", "/small") == "small\n"

    try:
        asyncio.run(fill())
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_budget_is_kept_by_letting_go_of_unused_layers(state: Path) -> None:
    async def go() -> None:
        async with images(state, budget_gib=0.01) as made:
            first = await made.build(run("head -c 8M /dev/urandom > /one"))
            made.store.hold(first.layers)
            await made.build(run("head -c 8M /dev/urandom > /two"))
        grow_old(state)
        async with images(state, budget_gib=0.01) as made:
            await made.build()  # the base has been checked from then on
            one, two = (Recipe(base="host", steps=(run(f"head -c 8M /dev/urandom > /{n}"),)) for n in ("one", "two"))
            image = made.store.find(one, MAIN)
            assert image is not None
            made.store.hold(image.layers)
            await made.build(run("true"))
            assert made.store.find(one, MAIN) == image
            assert made.store.find(two, MAIN) is None
            assert await made.run(image, "stat", "-c", "%s", "/one") == f"{8 << 20}\n"

    def grow_old(state: Path) -> None:
        for path in (state / "node/layers/.meta").iterdir():
            os.utime(path, (time.time() - 5000, time.time() - 5000))

    asyncio.run(go())


def test_the_base_of_a_host_tells_nodes_with_different_pythons_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    here = bases.digest(Recipe(base="host"))
    monkeypatch.setattr(sys, "version", "3.11.99 of another node")
    assert bases.digest(Recipe(base="host")) != here


async def _when_free(state: Path, act: Callable[[], Awaitable[None]]) -> None:
    """The killed server's launcher holds the state directory until all its processes have ended."""
    deadline = time.monotonic() + 30
    while True:
        try:
            await act()
            return
        except InternalError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
