"""Layers are whole or not there, made once, and let go by use; the disk's end is said in words."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import time
from pathlib import Path

import pytest

from inrush.agent.images import layerstore
from inrush.agent.images.layerstore import LayerStore
from inrush.agent.images.once import Progress, silent
from inrush.errors import ImageBuildError, ResourceExhaustedError
from inrush.launcher import fingerprint, trees

MIB = 1 << 20


class Trees:
    """Does as their owner what the launcher does for trees of anybody."""

    async def remove_tree(self, path: str) -> None:
        shutil.rmtree(path)

    async def fingerprint(self, path: str) -> str:
        top = os.open(path, os.O_RDONLY)
        try:
            return await asyncio.to_thread(fingerprint.of_tree, top)
        finally:
            os.close(top)

    async def measure(self, path: str) -> int:
        top = os.open(path, os.O_RDONLY)
        try:
            return trees.measure(top)
        finally:
            os.close(top)


async def open_store(root: Path, budget_mib: float = 1000, floor_mib: int = 0) -> LayerStore:
    store = LayerStore(root, Trees(), budget_bytes=int(budget_mib * MIB), floor_bytes=floor_mib * MIB)
    await store.sweep()
    return store


def filler(text: str = "x", size: int = 0) -> layerstore.Fill:
    async def fill(layer: Path, progress: Progress) -> None:
        layer.mkdir()
        (layer / "file").write_text(text)
        (layer / "large").write_bytes(os.urandom(size))

    return fill


async def broken(layer: Path, progress: Progress) -> None:
    layer.mkdir()
    (layer / "half").write_text("half")
    raise ImageBuildError("no")


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name != ".meta")


def grow_old(root: Path, name: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(root / ".meta" / name, (then, then))


async def test_a_layer_is_made_once_and_found_by_the_next_store(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    assert store.find("d") is None
    assert await store.make("d", filler("one"), silent) == "d"
    assert await store.make("d", filler("two"), silent) == "d"
    again = await open_store(tmp_path)
    assert again.find("d") == "d"
    assert (again.path("d") / "file").read_text() == "one"


async def test_a_layer_asked_for_by_many_at_once_is_made_once_and_all_hear_of_it(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    gate, begun, times = asyncio.Event(), asyncio.Event(), []

    async def fill(layer: Path, progress: Progress) -> None:
        times.append(layer)
        progress("line", "early")
        begun.set()
        await gate.wait()
        progress("line", "late")
        layer.mkdir()

    heard: list[list[str]] = [[] for _ in range(5)]
    asks = [asyncio.create_task(store.make("d", fill, lambda kind, text, to=to: to.append(text))) for to in heard]
    await begun.wait()
    gate.set()
    assert await asyncio.gather(*asks) == ["d"] * 5
    assert len(times) == 1
    assert heard == [["early", "late"]] * 5


async def test_one_who_stops_waiting_does_not_stop_the_others(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    gate = asyncio.Event()

    async def fill(layer: Path, progress: Progress) -> None:
        await gate.wait()
        layer.mkdir()

    first, second = (asyncio.create_task(store.make("d", fill, silent)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.set()
    assert await second == "d"


async def test_when_nobody_waits_any_more_the_making_stops_and_leaves_nothing(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    begun = asyncio.Event()

    async def fill(layer: Path, progress: Progress) -> None:
        layer.mkdir()
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.make("d", fill, silent))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(tmp_path) == []
    assert await store.make("d", filler(), silent) == "d"


async def test_a_failure_leaves_nothing_and_the_next_try_begins_anew(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    with pytest.raises(ImageBuildError):
        await store.make("d", broken, silent)
    assert names(tmp_path) == []
    assert store.find("d") is None
    assert await store.make("d", filler(), silent) == "d"


async def test_a_forced_rebuild_is_a_new_layer_beside_the_one_in_use(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.make("d", filler("one"), silent)
    assert await store.make("d", filler("two"), silent, force=True) == "d.2"
    assert await store.make("d", filler("three"), silent, force=True) == "d.3"
    assert [(store.path(n) / "file").read_text() for n in ("d", "d.2", "d.3")] == ["one", "two", "three"]
    assert (await open_store(tmp_path)).find("d") == "d.3"


async def test_what_a_crash_left_is_swept_and_only_that(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.make("whole", filler(), silent)
    (tmp_path / ".tmp-1-1").mkdir()
    (tmp_path / ".tmp-1-1.upper").mkdir()
    (tmp_path / "renamed-but-without-meta").mkdir()
    (tmp_path / ".meta/half.part").write_text("{")
    (tmp_path / ".meta/without-layer").write_text('{"bytes": 1, "boot": ""}')
    again = await open_store(tmp_path)
    assert names(tmp_path) == ["whole"]
    assert sorted(p.name for p in (tmp_path / ".meta").iterdir()) == ["whole"]
    assert again.find("without-layer") is None


async def test_a_layer_that_no_sync_followed_does_not_survive_the_machine(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.make("synced", filler(), silent)
    await store.make("unsynced", filler(), silent)
    await store.settled()
    meta = tmp_path / ".meta/unsynced"
    meta.write_text(meta.read_text().replace('"boot": ""', '"boot": "an earlier one"'))
    await open_store(tmp_path)
    assert names(tmp_path) == ["synced"]


async def test_over_the_budget_the_least_recently_used_go_but_none_that_is_held_or_fresh(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    for name in ("old", "held", "used"):
        await store.make(name, filler(size=MIB), silent)
        grow_old(tmp_path, name, {"old": 3000, "held": 4000, "used": 2000}[name])
    await store.settled()
    for name in ("old", "held", "used"):
        grow_old(tmp_path, name, {"old": 3000, "held": 4000, "used": 2000}[name])
    tight = await open_store(tmp_path, budget_mib=3.5)
    with tight.holding(["held"]):
        await tight.make("new", filler(size=MIB), silent)
        assert names(tmp_path) == ["held", "new", "used"]
        assert tight.find("old") is None
        await tight.make("newer", filler(size=MIB), silent)
        assert names(tmp_path) == ["held", "new", "newer"]
        await tight.make("newest", filler(size=MIB), silent)
        assert names(tmp_path) == ["held", "new", "newer", "newest"]


async def test_when_the_newest_of_a_digest_is_evicted_the_one_before_is_found(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.make("d", filler(size=MIB), silent)
    await store.make("d", filler(size=MIB), silent, force=True)
    await store.settled()
    grow_old(tmp_path, "d.2", 5000)
    tight = await open_store(tmp_path, budget_mib=1.5)
    await tight.evict()
    assert tight.find("d") == "d"


async def test_less_free_than_the_floor_is_an_error_that_names_the_place_and_what_is_free(tmp_path: Path) -> None:
    store = await open_store(tmp_path, floor_mib=1 << 40)
    with pytest.raises(ResourceExhaustedError, match=rf"{tmp_path} is full: \d+ MiB are free.*layers_gib"):
        await store.make("d", filler(), silent)


async def test_a_disk_that_fills_up_meanwhile_is_that_error_too(tmp_path: Path) -> None:
    store = await open_store(tmp_path)

    async def fill(layer: Path, progress: Progress) -> None:
        layer.mkdir()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ResourceExhaustedError, match="is full"):
        await store.make("d", fill, silent)
    assert names(tmp_path) == []


async def test_a_layer_of_the_platform_is_found_after_a_restart_only_as_it_was_made(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    for name in ("whole", "changed", "users"):
        await store.make(name, filler("one"), silent, fingerprinted=name != "users")
    for name in ("changed", "users"):
        (tmp_path / name / "file").write_text("two")
    again = await open_store(tmp_path)
    assert [again.find(name) for name in ("whole", "changed", "users")] == [None, None, "users"]
    assert [await again.found(name) for name in ("whole", "changed")] == ["whole", None]
    assert names(tmp_path) == ["users", "whole"]
    assert await again.make("changed", filler("one"), silent, fingerprinted=True) == "changed"
    assert (again.path("changed") / "file").read_text() == "one"


async def test_a_layer_that_is_forced_anew_after_a_restart_stands_beside_the_one_before(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.make("d", filler("one"), silent, fingerprinted=True)
    again = await open_store(tmp_path)
    assert await again.make("d", filler("two"), silent, force=True, fingerprinted=True) == "d.2"
    await again.check()
    assert names(tmp_path) == ["d", "d.2"]


CHANGES = {
    "content": lambda top: (top / "file").write_text("two"),
    "a name": lambda top: (top / "file").rename(top / "other"),
    "a mode": lambda top: (top / "file").chmod(0o4755),
    "an owner": lambda top: os.chown(top / "file", 5, 5),
    "the top's mode": lambda top: top.chmod(0o777),
    "a target": lambda top: ((top / "link").unlink(), (top / "link").symlink_to("file2")),
    "something more": lambda top: (top / "deep/new").touch(),
    "something less": lambda top: (top / "deep/inner").unlink(),
    "a capability": lambda top: os.setxattr(top / "file", "security.capability", CAPABILITY),
}
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


@pytest.mark.skipif(os.geteuid() != 0, reason="changes owners and capabilities")
@pytest.mark.parametrize("change", CHANGES)
async def test_a_fingerprint_changes_with_whatever_a_container_could_see(tmp_path: Path, change: str) -> None:
    (tmp_path / "top/deep").mkdir(parents=True)
    (tmp_path / "top/file").write_text("one")
    (tmp_path / "top/deep/inner").write_text("inner")
    (tmp_path / "top/link").symlink_to("file")
    before = await Trees().fingerprint(str(tmp_path / "top"))
    os.utime(tmp_path / "top/file", (1, 1))
    assert await Trees().fingerprint(str(tmp_path / "top")) == before
    CHANGES[change](tmp_path / "top")
    assert await Trees().fingerprint(str(tmp_path / "top")) != before
