"""Trees that their writer changes while the host's root walks them: nothing outside of them is ever reached."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inrush.launcher import trees
from inrush.launcher.client import LaunchError
from launcher.launched import UID_BASE, Node, needs_root

pytestmark = needs_root

FILES, ROUNDS = 300, 6
_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Files of the machine, by the names of those in the tree."""
    place = tmp_path / "victim"
    place.mkdir()
    for number in range(FILES):
        (place / f"v{number}").write_text("the machine's")
        (place / f"v{number}").chmod(0o600)
    return place


def planted(top: Path) -> Path:
    """What a build could have written: set-user-id files of its own, in directories that all may write."""
    inner = top / "race" / "x"
    inner.mkdir(parents=True)
    for number in range(FILES):
        file = inner / f"v{number}"
        file.touch()
        os.chown(file, UID_BASE, UID_BASE)
        file.chmod(0o4755)
    for path in (top, top / "race", inner):
        os.chown(path, UID_BASE, UID_BASE)
        path.chmod(0o777)
    return top / "race"


@contextlib.contextmanager
def swapping(race: Path, target: Path) -> Iterator[None]:
    """Meanwhile the directory `x` and a link to `target` change places, as fast as that goes, by a descriptor."""
    (race / "link").symlink_to(target)
    directory = os.open(race, os.O_RDONLY)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            _libc.renameat2(directory, b"x", directory, b"link", _EXCHANGE)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        os.close(directory)


def seen(victim: Path) -> set[tuple[int, int, int, str]]:
    return {(i.st_mode, i.st_uid, i.st_gid, p.read_text()) for p in victim.iterdir() for i in [p.stat()]}


async def test_a_link_swapped_while_a_layer_is_made_leads_nowhere(node: Node, victim: Path) -> None:
    store = node.state / "node"
    before = seen(victim)
    for number in range(ROUNDS):
        upper = store / f"up-{number}"
        with swapping(planted(upper), victim), contextlib.suppress(LaunchError):
            await node.launcher.normalise(str(upper), UID_BASE, str(store / f"made-{number}"))
        assert seen(victim) == before


async def test_a_link_swapped_while_a_tree_is_removed_leads_nowhere(node: Node, victim: Path) -> None:
    before = seen(victim)
    for number in range(ROUNDS):
        tree = node.state / "node" / f"tree-{number}"
        with swapping(planted(tree), victim), contextlib.suppress(LaunchError):
            await node.launcher.remove_tree(str(tree))
        assert seen(victim) == before
        assert len(list(victim.iterdir())) == FILES


def test_a_link_swapped_while_a_layer_is_copied_brings_nothing_in(tmp_path: Path, victim: Path) -> None:
    before = seen(victim)
    for number in range(ROUNDS):
        layer, made = tmp_path / f"layer-{number}", tmp_path / f"copy-{number}"
        race = planted(layer)
        made.mkdir()
        source, target = (os.open(path, os.O_RDONLY) for path in (layer, made))
        with swapping(race, victim), contextlib.suppress(OSError):
            trees.copy(source, target, UID_BASE, UID_BASE)
        os.close(source)
        os.close(target)
        assert seen(victim) == before
        assert not [p for p in made.rglob("v*") if not p.is_symlink() and p.is_file() and p.read_text()]


async def test_files_that_somebody_else_owns_stay_theirs_in_a_layer(node: Node) -> None:
    """A hard link to a file of the machine, where the kernel lets one make it, is no way to own that file."""
    upper, layer = node.state / "node" / "up", node.state / "node" / "made"
    upper.mkdir()
    (node.state / "machine").write_text("the machine's")
    (node.state / "machine").chmod(0o4711)
    os.chown(node.state / "machine", 1234, 1234)
    os.link(node.state / "machine", upper / "mine")
    (node.state / "machine").chmod(0o4711)
    await node.launcher.normalise(str(upper), UID_BASE, str(layer))
    info = (node.state / "machine").stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (1234, 1234, 0o4711)


async def test_a_tree_of_any_depth_is_removed_and_one_too_deep_is_no_layer(node: Node) -> None:
    upper = node.state / "node" / "up"
    upper.mkdir()
    top = os.open(upper, os.O_RDONLY)
    at = top
    for _ in range(3000):
        os.mkdir("d", dir_fd=at)
        inner = os.open("d", os.O_RDONLY, dir_fd=at)
        if at != top:
            os.close(at)
        at = inner
    os.close(at)
    os.close(top)
    with pytest.raises(LaunchError, match="deeper than"):
        await node.launcher.normalise(str(upper), UID_BASE, str(node.state / "node" / "made"))
    await node.launcher.remove_tree(str(upper))
    assert not upper.exists()


async def test_a_tree_is_measured_by_what_it_takes_of_the_disk_whoever_may_read_it(node: Node) -> None:
    tree = node.state / "node" / "measured"
    (tree / "hidden").mkdir(parents=True)
    (tree / "hidden" / "large").write_bytes(os.urandom(8 << 20))
    (tree / "again").hardlink_to(tree / "hidden" / "large")
    with (tree / "sparse").open("wb") as file:
        file.truncate(1 << 43)
    os.chown(tree / "hidden", UID_BASE + 1000, UID_BASE + 1000)
    (tree / "hidden").chmod(0o700)
    assert 8 << 20 <= await node.launcher.measure(str(tree)) < 10 << 20


def test_a_tree_of_too_many_files_is_not_walked_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MAX_ENTRIES", 100)
    for number in range(101):
        (tmp_path / str(number)).touch()
    top = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(OSError, match="more than 100 files"):
        trees.measure(top)
    os.close(top)


def test_a_tree_is_removed_a_few_names_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "_NAMES_AT_ONCE", 10)
    for number in range(35):
        (tmp_path / "top" / f"d{number % 12}" / "inner").mkdir(parents=True, exist_ok=True)
        (tmp_path / "top" / f"d{number % 12}" / f"f{number}").touch()
        (tmp_path / "top" / "many").mkdir(exist_ok=True)
        (tmp_path / "top" / "many" / str(number)).touch()
    parent = os.open(tmp_path, os.O_RDONLY)
    trees.remove(parent, "top")
    os.close(parent)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_of_a_sparse_file_is_sparse(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    with (tmp_path / "from" / "sparse").open("wb") as file:
        file.write(b"begin")
        file.seek(1 << 42)
        file.write(b"end")
        file.truncate((1 << 42) + (1 << 30))
    source, target = (os.open(tmp_path / name, os.O_RDONLY) for name in ("from", "to"))
    trees.copy(source, target, 0, 0)
    os.close(source)
    os.close(target)
    made = (tmp_path / "to" / "sparse").stat()
    assert made.st_size == (1 << 42) + (1 << 30)
    assert made.st_blocks < 1000
    with (tmp_path / "to" / "sparse").open("rb") as file:
        assert file.read(6) == b"begin\0"
        file.seek(1 << 42)
        assert file.read(4) == b"end\0"


@pytest.mark.parametrize("place", ["proc", "dev", "sys", "tmp", "opt", "usr", "run", "etc", "etc/resolv.conf"])
@pytest.mark.parametrize("start", ["", "../../../../../../../../.."])
async def test_a_link_of_a_layer_at_a_place_of_the_platform_leads_nowhere(
    node: Node, tmp_path: Path, place: str, start: str
) -> None:
    """What a build leaves at places where later containers get mounts and files: nothing is made behind it."""
    target = tmp_path / "victim"
    target.mkdir(mode=0o777)
    layer = node.state / "node" / "layers" / "hostile"
    (layer / place).parent.mkdir(parents=True, exist_ok=True)
    (layer / place).symlink_to(f"{start}{target}")
    root = node.root(str(layer), hostname="h", upper=str(node.state / "node" / "upper"))
    for options in ({"caps": "build", "root": root}, {"root": node.root(str(layer), hostname="h")}):
        with contextlib.suppress(LaunchError):
            await node.run("/bin/sh", "-c", "ls -A /proc /dev /tmp /etc", **options)
    assert list(target.iterdir()) == []
    assert (await node.run("true"))[0].code == 0
