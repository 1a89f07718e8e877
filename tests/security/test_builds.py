"""What user code does in one build of an image reaches no other build, no image of another, and nothing published."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.images.imaging import TIMEOUT_S, UID, Images, images, make_state, pip, remove_state, run
from inrush.agent.images import pins
from inrush.errors import ImageBuildError
from inrush.launcher.client import LaunchError
from inrush.launcher.specs import Bind, RootSpec, RunSpec

pytestmark = pytest.mark.asyncio(loop_scope="module")

_POISON = """find "$UV_CACHE_DIR" -path '*%s/__init__.py' | while read f; do echo "EVIL='poisoned'" >> "$f"; done"""
_TELL = "import iniconfig; print(getattr(iniconfig, 'EVIL', 'clean'))"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store() -> AsyncIterator[Images]:
    """A store of these tests alone."""
    path = make_state()
    async with images(path) as made:
        yield made
        assert made.leftovers() == []
    remove_state(path)


@pytest.fixture
def state() -> Iterator[Path]:
    """An empty state directory, for a store of one test."""
    path = make_state()
    yield path
    remove_state(path)


async def test_packages_that_a_build_changed_in_its_cache_are_not_installed_by_others(store: Images) -> None:
    await store.build(pip("iniconfig"), run("true"))
    install = '"$UV" pip install --python /opt/inrush/venv/bin/python --target /tmp/x iniconfig'
    await store.build(run(install, _POISON % "iniconfig", "echo poisoned"))
    for uid, environment in ((UID, "main"), (UID + 65536, "main"), (UID + 65536, "other")):
        image = await store.build(run(f"echo {uid} {environment}"), pip("iniconfig"), uid=uid, environment=environment)
        assert await store.python(image, _TELL) == "clean"


async def test_what_the_platform_downloaded_for_builds_cannot_be_changed_by_them(store: Images) -> None:
    await store.build(pip("six==1.16.0"))
    listing = "find $UV_CACHE_DIR/archive-v0 -name six.py -size +1k"
    spoil = f'for f in $({listing}); do echo "EVIL = 1" >> "$f"; done; rm -rf $UV_CACHE_DIR/wheels-v*'
    await store.build(run(f'test -n "$({listing})"', spoil))
    image = await store.build(
        run(f"! grep -l EVIL $({listing})"), pip("six==1.16.0", uv=True, extra_options="--offline")
    )
    assert await store.python(image, "import six; print(hasattr(six, 'EVIL'))") == "False"


async def test_what_was_downloaded_for_one_environment_is_seen_by_no_other(store: Images) -> None:
    await store.build(pip("six==1.16.0"))
    await store.build(run("test -d $UV_CACHE_DIR/archive-v0"))
    await store.build(run("test ! -e $UV_CACHE_DIR/archive-v0"), environment="stranger")


async def test_no_package_is_built_where_the_platform_downloads(store: Images) -> None:
    image = await store.build(pip("docopt==0.6.2"))  # an sdist: its setup.py runs in the build, and stays there
    assert await store.python(image, "import docopt; print(docopt.__version__)") == "0.6.2"
    await store.build(run("! find $UV_CACHE_DIR | grep docopt"))


async def test_the_platforms_own_packages_come_from_no_cache_of_a_build(store: Images) -> None:
    await store.build(run(_POISON % "msgspec", _POISON % "cloudpickle", "echo done"))
    image = await store.build()
    layers = await store.store.runtime(image)
    tell = "import sys; sys.path[:0] = ['/opt/inrush/deps']; import msgspec; print(getattr(msgspec, 'EVIL', 'clean'))"
    assert await store.python(image, tell, above=layers) == "clean"


_FORGE = """
import sys, zipfile
name, version = "cloudpickle", sys.argv[1]
about = f"{name}-{version}.dist-info"
with zipfile.ZipFile(f"/tmp/{name}-{version}-py3-none-any.whl", "w") as wheel:
    wheel.writestr(f"{name}/__init__.py", "EVIL = 1")
    wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr(f"{about}/RECORD", "")
"""


async def test_an_index_that_serves_another_wheel_gets_nothing_into_the_platforms_layers(store: Images) -> None:
    pin = pins.pinned("cloudpickle")
    wanted = pin.partition(" ")[0]
    forged = f"python3 -c '{_FORGE}' {wanted.partition('==')[2]}; export UV_FIND_LINKS=/tmp UV_NO_INDEX=1 PINS='{pin}'"
    into = "--python /opt/inrush/venv/bin/python --target /x"
    await store.build(run(f"{forged}; $UV pip install {into} {wanted}; grep -q EVIL /x/cloudpickle/__init__.py"))
    with pytest.raises(ImageBuildError, match=r"[Hh]ash mismatch"):
        await store.build(run(f"{forged}\n{pins.INSTALL}install_pinned {into}"))


async def test_the_nodes_constraints_do_not_keep_the_platform_from_its_own_packages(store: Images) -> None:
    given = f"export UV_CONSTRAINT=/c PINS='{pins.pinned('cloudpickle')}'; echo 'cloudpickle<1' >/c"
    await store.build(run(f"{given}\n{pins.INSTALL}install_pinned --python /opt/inrush/venv/bin/python --target /x"))


async def test_a_layer_of_the_platform_that_was_changed_on_the_disk_is_made_again(state: Path) -> None:
    async with images(state) as store:
        layer = (await store.store.runtime(await store.build()))[0]
    broken = Path(layer) / "opt/inrush/lib/inrush/__init__.py"
    whole = broken.read_text()
    broken.write_text("EVIL = 1")
    async with images(state) as store:
        image = await store.build()
        assert await store.store.runtime(image) == (layer,)
        assert broken.read_text() == whole


async def test_what_a_build_leaves_in_its_caches_is_seen_by_no_other_build_and_is_in_no_layer(store: Images) -> None:
    leave = "mkdir -p $UV_CACHE_DIR && mkfifo $UV_CACHE_DIR/pipe && touch $UV_CACHE_DIR/mark && echo left"
    image = await store.build(run(leave))
    look = "! ls -A $UV_CACHE_DIR $UV_CACHE_DIR/.. 2>&1 | grep -E 'pipe|mark'"
    await store.build(run(look))
    assert "build" not in await store.run(image, "ls", "/opt/inrush")


async def test_a_step_with_secrets_is_built_for_each_of_their_values(store: Images) -> None:
    def step_of(value: str) -> dict[str, str]:
        return {"TOK": f"secret-of-{value}"}

    for value in ("A", "B"):
        tells = run("echo $TOK > /tok", secrets=["TOK"], key=f"key-of-{value}")
        image = await store.build(tells, env=step_of(value))
        assert await store.run(image, "cat", "/tok") == f"secret-of-{value}\n"


async def test_a_step_with_secrets_is_never_built_without_them(store: Images) -> None:
    lost = run("echo $TOK > /lost", secrets=["TOK"], key="of a layer that was evicted")
    with pytest.raises(ImageBuildError, match=r"not on this node.*secrets \(TOK\).*run or deploy the app again"):
        await store.build(lost)
    with pytest.raises(ImageBuildError, match="run or deploy the app again"):
        await store.build(run("echo $TOK > /unkeyed", secrets=["TOK"]), env={"TOK": "value"})


async def test_layers_of_steps_belong_to_one_environment(store: Images) -> None:
    stamp = run("cat /proc/sys/kernel/random/uuid > /stamp")
    here = await store.build(stamp)
    there = await store.build(stamp, environment="other")
    again = await store.build(stamp, environment="other", uid=UID + 65536)
    told = [await store.run(image, "cat", "/stamp") for image in (here, there, again)]
    assert told[0] != told[1] == told[2]


_GIVE = """
import array, os, socket, sys
os.mkdir("/kept")
held = os.open("/kept/file", os.O_RDWR | os.O_CREAT) if sys.argv[1] == "file" else os.open("/kept", os.O_RDONLY)
made = socket.socket(socket.AF_UNIX); made.connect("/opt/door/door")
made.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [held]))])
made.recv(1)
"""


async def _passed_out(store: Images, what: str, upper: Path) -> int:
    """A descriptor that a build, ended by now, passed to this process by a way that we show no build."""
    door = store.state / "node" / f"door-{what}"
    door.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(door / "door"))
        (door / "door").chmod(0o777)
        listening.listen(1)
        base = await store.build()
        root = RootSpec(base.layers, (*base.binds, Bind(str(door), "/opt/door", readonly=False)), str(upper))
        argv = (base.python, "-c", _GIVE, what)
        spec = RunSpec(id=f"giver-{what}", root=root, argv=argv, uid_base=UID, env=dict(base.env), caps="build")
        end = store.exits.expect(spec.id)
        await store.launcher.run(spec, 0, 1, 2)
        connection, _ = await asyncio.to_thread(listening.accept)
        with connection:
            _, fds, _, _ = await asyncio.to_thread(socket.recv_fds, connection, 1, 1)
            connection.send(b"y")
        assert (await asyncio.wait_for(end, TIMEOUT_S)).code == 0
        await store.launcher.remove_tree(str(door))
        return fds[0]


async def test_a_directory_that_a_build_passed_out_takes_no_file_once_the_layer_is_published(store: Images) -> None:
    upper, layer = (store.state / "node" / name for name in ("dir-upper", "dir-layer"))
    held = await _passed_out(store, "directory", upper)
    try:
        await store.launcher.normalise(str(upper), UID, str(layer))
        with pytest.raises(OSError, match="Read-only"):
            os.open("late.txt", os.O_WRONLY | os.O_CREAT, dir_fd=held)
        with pytest.raises(OSError, match="Read-only"):
            os.symlink("/etc", "late", dir_fd=held)
        with pytest.raises(OSError, match="Read-only"):
            os.chmod(f"/proc/self/fd/{held}", 0o777)
        assert os.listdir(layer / "kept") == []
    finally:
        os.close(held)
        await store.launcher.remove_tree(str(layer))


async def test_a_build_of_which_a_file_is_still_open_for_writing_elsewhere_is_not_published(store: Images) -> None:
    upper, layer = (store.state / "node" / name for name in ("file-upper", "file-layer"))
    held = await _passed_out(store, "file", upper)
    try:
        with pytest.raises(LaunchError, match="has a file of it open for writing"):
            await store.launcher.normalise(str(upper), UID, str(layer))
        assert not layer.exists()
    finally:
        os.close(held)
    await store.launcher.normalise(str(upper), UID, str(layer))
    assert os.listdir(layer / "kept") == ["file"]
    await store.launcher.remove_tree(str(layer))
