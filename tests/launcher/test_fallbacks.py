"""Older kernels and smaller machines: containers run without each feature of `features.NAMES`, and without all."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable

import pytest

from inrush.launcher import features
from inrush.launcher.specs import Bind, Limits
from launcher.launched import UID_BASE, Node, needs_root, traces

pytestmark = needs_root

_KERNEL = "overlay_fd,idmap,pidfd,cgroup_kill"
_FORKING = [name for name in features.NAMES if name != "templates"]


@pytest.mark.parametrize("without", [*_FORKING, _KERNEL, ",".join(_FORKING)])
async def test_containers_start_work_and_end_without(
    make_node: Callable[[], Awaitable[Node]], monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    monkeypatch.setenv("INRUSH_WITHOUT", without)
    node = await make_node()
    missing = set(without.split(","))
    assert {name for name, has in node.can["features"].items() if not has} >= missing
    assert all("INRUSH_WITHOUT" in node.can["why"][name] for name in missing)

    await node.template("t", boot={"before": "open('/root/made', 'w').write('hook')"})
    forked = await node.fork("t")
    assert await forked.ask("open('/root/made').read(), os.getuid()") == "('hook', 0)"
    assert await forked.ask("open('/etc/new', 'w').write('x'), os.stat('/etc').st_uid") == "(1, 0)"
    await forked.ask("[os.spawnvp(os.P_NOWAIT, 'sleep', ['sleep', '600']) for _ in range(3)]")
    await node.launcher.kill(forked.id)
    assert (await node.ended(forked.id)).signal == signal.SIGKILL

    upper, layer = node.state / "node" / "up", node.state / "node" / "layers" / "built"
    exited, text = await node.run(
        "sh", "-c", "echo x > /opt/x && chown 5 /opt/x", caps="build", root=node.root(upper=str(upper))
    )
    assert exited.code == 0, text
    await node.launcher.normalise(str(upper), UID_BASE, str(layer))
    assert (layer / "opt" / "x").stat().st_uid == 5
    _, text = await node.run("stat", "-c", "%u", "/opt/x", root=node.root(str(layer)))
    assert text == "5\n"
    await node.launcher.close()
    assert traces(node.state) == []


async def test_without_a_network_the_container_says_what_it_lacks(
    make_node: Callable[[], Awaitable[Node]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INRUSH_WITHOUT", "nat")
    node = await make_node()
    await node.template("t")
    forked = await node.fork("t", network="nat")
    assert "no network" in forked.started.why
    assert await forked.ask("[name for _, name in socket.if_nameindex()]") == "['lo']"
    assert (await node.fork("t", network="none")).started.why == ""
    await node.launcher.close()


async def test_without_groups_limits_are_not_kept_and_it_is_said(
    make_node: Callable[[], Awaitable[Node]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INRUSH_WITHOUT", "cgroups")
    node = await make_node()
    exited, _ = await node.run("true", limits=Limits(memory_mib=64))
    assert exited.code == 0
    assert "cgroups" in node.can["why"]
    await node.launcher.close()


async def test_copies_of_layers_are_made_once_for_each_app_and_keep_what_layers_hold(
    make_node: Callable[[], Awaitable[Node]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INRUSH_WITHOUT", "idmap")
    node = await make_node()
    layer = node.state / "node" / "layers" / "owned"
    (layer / "opt").mkdir(parents=True)
    (layer / "opt" / "tool").write_text("x")
    (layer / "opt" / "tool").chmod(0o4755)
    os.chown(layer / "opt" / "tool", 3, 4)
    (layer / "opt" / "tool").chmod(0o4755)
    os.setxattr(layer / "opt", "trusted.overlay.opaque", b"y")
    os.mknod(layer / "opt" / "gone", 0o20000, 0)
    for uid_base in (UID_BASE, UID_BASE, UID_BASE + 65536):
        _, text = await node.run("stat", "-c", "%u %g %a", "/opt/tool", root=node.root(str(layer)), uid_base=uid_base)
        assert text == "3 4 4755\n"
    shifted = node.state / "launcher" / "shifted"
    copies = {path.parent.name for path in shifted.glob("*/*")}
    assert copies == {str(UID_BASE), str(UID_BASE + 65536)}
    before = len(list(shifted.glob("*/*")))
    await node.launcher.remove_tree(str(layer))
    assert len(list(shifted.glob("*/*"))) == before - 2, "copies go with their layer"
    await node.launcher.close()


async def test_a_bind_of_a_file_works_in_every_way(
    make_node: Callable[[], Awaitable[Node]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INRUSH_WITHOUT", _KERNEL)
    node = await make_node()
    file = node.state / "node" / "file"
    file.write_text("text")
    file.chmod(0o644)
    _, text = await node.run("cat", "/opt/a/b", root=node.root(binds=(Bind(str(file), "/opt/a/b"),)))
    assert text == "text"
    await node.launcher.close()
