"""The store as a whole: what is shared, what is built anew, what failures say, and what they leave."""

from __future__ import annotations

import asyncio

import pytest

from agent.images.imaging import UID, Images, pip, run, step, tar_of
from inrush.errors import ImageBuildError, InvalidError, NotFoundError
from inrush.wire import MAIN, Recipe, Step

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_is_built_is_found_and_not_built_again_whoever_asks(shared: Images) -> None:
    steps = (run("echo shared > /s"), run("echo more > /m"))
    recipe = Recipe(base="host", steps=steps)
    assert shared.store.find(recipe, MAIN) is None
    image = await shared.build(*steps)
    assert shared.lines("step") == ["[1/2] run echo shared > /s", "[2/2] run echo more > /m"]
    assert shared.store.find(recipe, MAIN) == image
    assert await shared.build(*steps, uid=UID + 65536) == image
    assert shared.lines("step") == []
    assert shared.lines("cached") == ["[1/2] run echo shared > /s", "[2/2] run echo more > /m"]


async def test_images_with_a_common_beginning_share_its_layers(shared: Images) -> None:
    one = await shared.build(run("echo common > /c"), run("echo one > /x"))
    two = await shared.build(run("echo common > /c"), run("echo two > /x"))
    assert one.layers[1:] == two.layers[1:]
    assert one.layers[0] != two.layers[0]
    assert one.id != two.id


async def test_an_image_differs_by_its_environment_and_shares_all_its_layers(shared: Images) -> None:
    plain = await shared.build(run("echo e > /e"))
    other = await shared.build(run("echo e > /e"), step("env", variables={"A": "1"}))
    assert plain.layers == other.layers
    assert plain.id != other.id


async def test_one_layer_wanted_by_two_recipes_at_once_is_built_once(shared: Images) -> None:
    first: list[tuple[str, str]] = []
    second: list[tuple[str, str]] = []
    common = run("sleep 0.5", "cat /proc/sys/kernel/random/uuid > /once")
    one, two = await asyncio.gather(
        shared.build(common, run("echo 1 > /n"), said=first),
        shared.build(common, run("echo 2 > /n"), uid=UID + 65536, said=second),
    )
    assert one.layers[1] == two.layers[1]
    assert await shared.run(one, "cat", "/once") == await shared.run(two, "cat", "/once")
    for said in (first, second):
        assert said[0][0] == "step"


async def test_output_arrives_while_the_step_runs_and_is_cleaned(shared: Images) -> None:
    seen = asyncio.Event()

    def progress(kind: str, text: str) -> None:
        if (kind, text) == ("line", "now https://host/x"):
            seen.set()

    script = "printf 'old\\rnow \\033[31mhttps://user:pw@host/x\\033[0m\\n'; while [ ! -e /go ]; do sleep 0.05; done"
    recipe = Recipe(base="host", steps=(run(script),))
    task = asyncio.create_task(
        shared.store.ensure(
            recipe, app="test", environment=MAIN, uid_base=UID, env={}, blobs=shared.blobs, progress=progress
        )
    )
    await asyncio.wait_for(seen.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert shared.leftovers() == []
    assert shared.store.find(recipe, MAIN) is None


async def test_a_failed_step_says_which_it_was_and_ends_with_its_last_forty_lines(shared: Images) -> None:
    with pytest.raises(ImageBuildError) as caught:
        await shared.build(run("echo fine"), run("seq 1 100", "echo oh no >&2", "exit 3"), run("true"))
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "image step 2/3 (run seq 1 100; echo oh no >&2; exit 3) failed: it ended with status 3, after this output:"
    )
    assert lines[-1] == "oh no"
    assert lines[1:-1] == [str(n) for n in range(62, 101)]
    assert shared.leftovers() == []
    assert len(shared.lines("step")) == 2


async def test_a_failed_step_is_tried_again_and_the_steps_before_it_are_kept(shared: Images) -> None:
    fails = run('test -n "$PASS"', secrets=["PASS"], key="of these values")
    with pytest.raises(ImageBuildError):
        await shared.build(run("echo kept > /k"), fails, env={"PASS": ""})
    await shared.build(run("echo kept > /k"), fails, env={"PASS": "1"})
    assert shared.lines("cached") == ["[1/2] run echo kept > /k"]


async def test_a_flood_of_output_is_cut_and_its_end_kept(shared: Images) -> None:
    with pytest.raises(ImageBuildError, match=r"the end$"):
        await shared.build(
            run(
                "yes 0123456789 | head -c 20000000",
                "head -c 9000 /dev/zero | tr '\\0' x",
                "echo",
                "echo the end",
                "false",
            )
        )
    assert len(shared.lines()) < 10_100
    assert max(map(len, shared.lines())) <= 2_000
    assert "more lines" in shared.lines()[-1]


async def test_a_step_that_is_killed_says_by_what(shared: Images) -> None:
    with pytest.raises(ImageBuildError, match="it was killed by signal 9, without any output"):
        await shared.build(run("kill -9 $$"))


async def test_a_missing_package_is_named(shared: Images) -> None:
    with pytest.raises(
        ImageBuildError, match=r"step 1/1 \(pip install no-such-package-of-ours==1\) failed(?s:.*)not found"
    ):
        await shared.build(pip("no-such-package-of-ours==1"))


async def test_a_missing_blob_is_named(shared: Images) -> None:
    with pytest.raises(NotFoundError, match="sha256-none"):
        await shared.build(step("copy", files=[("x", "sha256-none")]))
    assert shared.leftovers() == []


async def test_a_hostile_archive_fails_its_step_and_leaves_nothing(shared: Images) -> None:
    blob = shared.blobs.put(tar_of({"../../evil": b"x"}))
    with pytest.raises(InvalidError, match="leads out of it"):
        await shared.build(step("copy", files=[("x", blob)]))
    with pytest.raises(InvalidError, match="leads out of it"):
        await shared.store.archive(blob, shared.blobs)
    assert shared.leftovers() == []


async def test_a_step_that_is_not_encoded_right_is_refused_before_anything_is_built(shared: Images) -> None:
    with pytest.raises(InvalidError, match="not JSON"):
        await shared.build(run("echo never > /never"), Step(kind="pip", args=("{",)))
    assert shared.said == []


async def test_archives_are_unpacked_once_and_can_lie_above_an_image(shared: Images) -> None:
    blob = shared.blobs.put(tar_of({"root/program.py": b"print('here')\n"}))
    place = await shared.store.archive(blob, shared.blobs)
    assert await shared.store.archive(blob, shared.blobs) == place
    image = await shared.build()
    assert await shared.run(image, image.python, "/root/program.py", above=[place]) == "here\n"


async def test_forcing_a_step_rebuilds_it_and_all_above_it_and_leaves_the_old_image_whole(shared: Images) -> None:
    stamp = "cat /proc/sys/kernel/random/uuid >"
    first, forced, above = run("echo below > /b"), run(f"{stamp} /f"), run(f"{stamp} /a")
    old = await shared.build(first, forced, above)
    before = await shared.run(old, "cat", "/f", "/a")
    again = Step(kind=forced.kind, args=forced.args, force=True)
    new = await shared.build(first, again, above)
    assert [kind for kind, _ in shared.said if kind in ("cached", "step")] == ["cached", "step", "step"]
    assert set((await shared.run(new, "cat", "/f", "/a")).split()).isdisjoint(before.split())
    assert await shared.run(old, "cat", "/f", "/a") == before
    assert shared.store.find(Recipe(base="host", steps=(first, forced, above)), MAIN) == new
    assert new.id != old.id


async def test_forcing_a_build_rebuilds_all_its_steps(shared: Images) -> None:
    steps = (run("echo 1 > /1"), step("env", variables={"A": "1"}), run("echo 2 > /2"))
    await shared.build(*steps)
    await shared.build(*steps, force=True)
    assert len(shared.lines("step")) == 2


async def test_a_build_cannot_read_what_only_the_node_may(shared: Images) -> None:
    await shared.build(
        run("ls /root /home", f"test ! -e {shared.state}", "! mount -t tmpfs none /mnt", "! cat /dev/kmsg")
    )
