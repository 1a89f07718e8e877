"""Builds that fill the disk which they share with the server are ended while there is still room on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.images.imaging import images, make_state, remove_state, run, step
from inrush.agent.images import room
from inrush.errors import ImageBuildError, ResourceExhaustedError
from launcher.launched import needs_root

pytestmark = needs_root

FLOOR_MIB = 64


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A state directory whose layers lie on a small disk of their own."""
    state = make_state()
    place = state / "node/layers"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m,nr_inodes=20000", "none", str(place)], check=True)
    yield state
    subprocess.run(["umount", str(place)], check=True)
    remove_state(state)


@contextlib.asynccontextmanager
async def _least(place: Path, found: dict[str, int]) -> AsyncIterator[None]:
    """Notes the least that was free meanwhile, in MiB and in files."""

    async def look() -> None:
        while True:
            disk = os.statvfs(place)
            found["mib"] = min(found.get("mib", 1 << 30), disk.f_bavail * disk.f_frsize >> 20)
            found["files"] = min(found.get("files", 1 << 30), disk.f_favail)
            await asyncio.sleep(room.WATCH_S / 10)

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()


BYTES = "while head -c 1M /dev/zero >> /large; do sleep 0.01; done; sleep 600"
FILES = "mkdir /many; while true; do n=$((n+1)); : > /many/$n; [ $((n % 50)) = 0 ] && sleep 0.01; done"


@pytest.mark.parametrize(
    ("command", "words"), [(BYTES, f"{FLOOR_MIB} MiB must stay free"), (FILES, "more files can be made there")]
)
async def test_a_build_that_fills_the_disk_is_ended_before_it_is_full(
    small_disk: Path, command: str, words: str
) -> None:
    found: dict[str, int] = {}
    async with images(small_disk, free_floor_mib=FLOOR_MIB) as store:
        await store.build(run("true"))
        async with _least(small_disk / "node/layers", found):
            with pytest.raises(ResourceExhaustedError, match=words):
                await store.build(run(command))
        assert found["mib"] > FLOOR_MIB // 4
        assert found["files"] > 100
        assert store.leftovers() == []
        await store.build(run("echo others go on"))


async def test_an_archive_that_fills_the_disk_is_unpacked_no_further(small_disk: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bomb", "w:gz", compresslevel=1) as tar, Path("/dev/zero").open("rb") as zeros:
        member = tarfile.TarInfo("large")
        member.size = 260 << 20
        tar.addfile(member, zeros)
    found: dict[str, int] = {}
    async with images(small_disk, free_floor_mib=FLOOR_MIB) as store:
        blob = store.blobs.put((tmp_path / "bomb").read_bytes())
        async with _least(small_disk / "node/layers", found):
            with pytest.raises(ResourceExhaustedError, match=f"{FLOOR_MIB} MiB must stay free"):
                await store.build(step("copy", files=[("large", blob)]))
        assert found["mib"] > FLOOR_MIB // 2
        assert store.leftovers() == []


async def test_a_build_takes_no_room_that_it_does_not_write(small_disk: Path) -> None:
    async with images(small_disk, free_floor_mib=FLOOR_MIB) as store:
        with pytest.raises(ImageBuildError, match="not supported"):
            await store.build(run("fallocate -l 100M /large"))
        await store.build(run("python3 -c 'import os; os.posix_fallocate(os.open(\"/x\", 66), 0, 1 << 20)'"))
