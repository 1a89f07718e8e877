"""Containers that execute a program, and further programs entered into them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from cli.terminals import shown_on
from inrush.launcher.client import LaunchError
from inrush.launcher.specs import Bind, Terminal
from inrush.linux import messages
from launcher.launched import UID_BASE, Node, needs_root

pytestmark = needs_root


async def test_a_program_runs_with_its_arguments_environment_and_directory(node: Node) -> None:
    exited, text = await node.run(
        "sh",
        "-c",
        'echo "$1 $COLOR $(pwd) $(hostname)"',
        "sh",
        "one",
        env={"COLOR": "red"},
        cwd="/var",
        root=node.root(hostname="box"),
    )
    assert text == "one red /var box\n"
    assert (exited.code, exited.signal, exited.oom) == (0, 0, False)
    assert exited.cpu_s > 0
    assert exited.memory_peak_mib > 0


async def test_the_exit_code_is_the_programs(node: Node) -> None:
    exited, _ = await node.run("sh", "-c", "exit 37")
    assert (exited.code, exited.signal) == (37, 0)


async def test_a_signal_that_ended_the_program_is_told(node: Node) -> None:
    exited, _ = await node.run("sh", "-c", "kill -SEGV $$")
    assert (exited.code, exited.signal) == (128 + signal.SIGSEGV, signal.SIGSEGV)


async def test_the_program_reads_its_standard_input(node: Node) -> None:
    read, write = os.pipe()
    os.write(write, b"hello\n")
    os.close(write)
    exited, text = await node.run("cat", stdin=read)
    os.close(read)
    assert (exited.code, text) == (0, "hello\n")


async def test_a_program_that_is_not_there_is_named(node: Node) -> None:
    with pytest.raises(LaunchError, match="nosuch") as caught:
        await node.run("nosuch")
    assert caught.value.code == "exec"


async def test_a_directory_that_is_not_there_is_made(node: Node) -> None:
    assert (await node.run("pwd", cwd="/not/there/yet"))[1] == "/not/there/yet\n"


async def test_a_directory_that_cannot_be_is_named(node: Node) -> None:
    with pytest.raises(LaunchError, match="/proc/nowhere"):
        await node.run("true", cwd="/proc/nowhere")


async def test_an_id_in_use_is_refused(node: Node) -> None:
    _, write = os.pipe()
    await node.start("sleep", "60", output=write, id="co-same")
    with pytest.raises(LaunchError) as caught:
        await node.run("true", id="co-same")
    assert caught.value.code == "busy"


async def test_an_id_that_is_a_path_is_refused(node: Node) -> None:
    with pytest.raises(LaunchError) as caught:
        await node.run("true", id="../../up")
    assert caught.value.code == "refused"


async def test_orphans_are_reaped_and_die_with_the_program(node: Node) -> None:
    exited, text = await node.run("sh", "-c", "(sleep 0.05 &) ; (sleep 600 &) ; sleep 0.3; ps -eo stat,comm")
    assert exited.code == 0
    assert text.count("sleep") == 1
    assert "Z" not in text


async def test_kill_ends_all_processes_at_once(node: Node) -> None:
    read, write = os.pipe()
    id = await node.start("sh", "-c", "sleep 600 & sleep 600 & echo up; wait", output=write)
    assert await asyncio.to_thread(os.read, read, 10) == b"up\n"
    assert (await node.launcher.usage(id)).pids >= 3
    await node.launcher.kill(id)
    exited = await node.ended(id)
    assert exited.signal == signal.SIGKILL
    await node.launcher.kill(id)  # again is fine


async def test_a_signal_reaches_the_program(node: Node) -> None:
    read, write = os.pipe()
    id = await node.start("sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.02; done", output=write)
    assert await asyncio.to_thread(os.read, read, 10) == b"up\n"
    await node.launcher.signal(id, signal.SIGTERM)
    assert (await node.ended(id)).code == 5


async def test_a_signal_to_a_container_that_is_not_there_says_so(node: Node) -> None:
    with pytest.raises(LaunchError) as caught:
        await node.launcher.signal("co-none", signal.SIGTERM)
    assert caught.value.code == "unknown"


async def test_a_program_with_a_terminal_of_the_container_controls_it(node: Node) -> None:
    _, quiet = os.pipe()
    id = await node.start("sleep", "600", output=quiet)
    ours, theirs = messages.pair()
    script = "tty; stty size; echo on $(ps -o tpgid= -p $$)"
    argv, fd = ("sh", "-c", script), theirs.fileno()
    environment = {"PATH": "/usr/bin:/bin"}
    await node.launcher.enter(id, argv, environment, "/", fd, fd, fd, Terminal(33, 101), "ex-1")
    theirs.close()
    (terminal,) = messages.receive(ours, wait=False).fds
    shown = (await asyncio.to_thread(shown_on, terminal)).decode().split()
    assert shown[:3] == ["/dev/pts/0", "33", "101"]
    assert shown[-2] == "on"
    assert int(shown[-1]) > 0
    assert (await node.ended("ex-1")).code == 0
    ours.close()
    await node.launcher.kill(id)
    await node.ended(id)


async def test_a_program_entered_sees_the_container_and_is_confined(node: Node) -> None:
    _, quiet = os.pipe()
    id = await node.start("sh", "-c", "echo mark > /tmp/mark; exec sleep 600", output=quiet)
    read, write = os.pipe()
    script = "cat /tmp/mark; id -u; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; ps -eo pid,comm; exit 9"
    started = await node.launcher.enter(
        id, ["sh", "-c", script], {"PATH": "/usr/bin:/bin"}, "/", 0, write, write, None, "ex-1"
    )
    os.close(write)
    with os.fdopen(read) as file:
        text = await asyncio.to_thread(file.read)
    exited = await node.ended("ex-1")
    assert exited.code == 9
    assert started.pid > 0
    lines = text.splitlines()
    assert lines[:2] == ["mark", "0"]
    assert [line.split()[1] for line in lines if line.startswith("Cap")] == ["0000000000000000"] * 5
    assert "NoNewPrivs:\t1" in lines
    assert "Seccomp:\t2" in lines
    assert any(line.split()[1] == "sleep" for line in lines[9:])
    await node.launcher.kill(id)
    await node.ended(id)


async def test_a_program_entered_ends_with_code_nought_and_can_be_killed(node: Node) -> None:
    _, quiet = os.pipe()
    id = await node.start("sleep", "600", output=quiet)
    environment = {"PATH": "/usr/bin:/bin"}
    await node.launcher.enter(id, ["true"], environment, "/", 0, quiet, quiet, None, "ex-1")
    assert ((await node.ended("ex-1")).code, (await node.ended("ex-1")).signal) == (0, 0)
    await node.launcher.enter(id, ["sleep", "600"], environment, "/", 0, quiet, quiet, None, "ex-2")
    await node.launcher.kill("ex-2")
    assert (await node.ended("ex-2")).signal == signal.SIGKILL
    assert (await node.launcher.usage(id)).pids >= 1


async def test_what_a_build_may_do_to_owners_is_normalised_into_a_layer(node: Node) -> None:
    upper, layer = node.state / "node" / "up-1", node.state / "node" / "layers" / "built"
    script = """
        set -e
        mkdir /opt/made && echo data > /opt/made/file && chown 7:8 /opt/made/file
        echo tool > /opt/made/tool && chmod 4755 /opt/made/tool
        rm /etc/passwd; chroot / true; getent hosts localhost
    """
    exited, text = await node.run(
        "sh", "-c", script, caps="build", root=node.root(upper=str(upper), hostname="b", resolv=True)
    )
    assert exited.code == 0, text
    assert (upper / "opt/made/file").stat().st_uid == UID_BASE + 7
    await node.launcher.normalise(str(upper), UID_BASE, str(layer))
    assert not upper.exists()
    assert not Path(f"{upper}.work").exists()
    info = (layer / "opt/made/file").stat()
    assert (info.st_uid, info.st_gid) == (7, 8)
    assert (layer / "opt/made/tool").stat().st_mode & 0o7777 == 0o4755
    assert (layer / "opt/made").stat().st_uid == 0
    assert not (layer / "etc/resolv.conf").exists()
    assert not (layer / "opt/inrush").exists()
    exited, text = await node.run(
        "sh", "-c", "cat /opt/made/file; stat -c %u /opt/made/file; ls /etc", root=node.root(str(layer))
    )
    assert text.startswith("data\n7\n")
    assert "passwd" not in text


async def test_without_build_rights_owners_cannot_be_changed(node: Node) -> None:
    exited, text = await node.run("sh", "-c", "touch /opt/x; chown 7 /opt/x")
    assert exited.code != 0
    assert "not permitted" in text


async def test_trees_outside_the_store_are_never_touched(node: Node, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    store = node.state / "node"
    (store / "link").symlink_to(tmp_path)
    for path in (str(victim), f"{store}/link/victim", f"{store}/../../{victim}", f"{store}/.."):
        with pytest.raises(LaunchError) as caught:
            await node.launcher.remove_tree(path)
        assert caught.value.code == "refused"
    for path in (str(victim), f"{store}/link"):
        with pytest.raises(LaunchError):
            await node.run("true", root=node.root(upper=path))
        with pytest.raises(LaunchError):
            await node.run("true", root=node.root(binds=(Bind(path, "/data", readonly=False),)))
    assert victim.stat().st_uid == tmp_path.stat().st_uid == os.getuid()
    assert list(victim.iterdir()) == []
    await node.launcher.remove_tree(f"{store}/link")
    assert victim.exists()
    assert not (store / "link").is_symlink()


async def test_a_build_cannot_lead_the_launcher_out_of_what_it_built(node: Node, tmp_path: Path) -> None:
    for name in ("resolv.conf", "hostname"):
        (tmp_path / name).write_text("the host's")
    (tmp_path / "deep").mkdir()
    upper, layer = node.state / "node" / "up", node.state / "node" / "layers" / "built"
    root = node.root(upper=str(upper), hostname="build", binds=(Bind("/usr/share", "/opt/way/deep"),))
    script = f"mv /etc /was && mv /opt/way /opt/gone && ln -s {tmp_path} /etc && ln -s {tmp_path} /opt/way"
    exited, text = await node.run("sh", "-c", script, caps="build", root=root)
    assert exited.code == 0, text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "hostname", "resolv.conf"]
    with pytest.raises(LaunchError) as caught:
        await node.run("true", caps="build", root=root)
    assert caught.value.code == "root"
    await node.launcher.normalise(str(upper), UID_BASE, str(layer))
    assert (layer / "etc").is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"deep", "hostname", "resolv.conf"}
    assert (tmp_path / "hostname").read_text() == "the host's"
    assert tmp_path.stat().st_uid == os.getuid()


async def test_a_tree_of_another_user_is_removed(node: Node) -> None:
    tree = node.state / "node" / "tree"
    (tree / "deep").mkdir(parents=True, mode=0o700)
    os.chown(tree / "deep", UID_BASE, UID_BASE)
    await node.launcher.remove_tree(str(tree))
    assert not tree.exists()
    await node.launcher.remove_tree(f"{tree}/deep/er")


async def test_requests_that_make_no_sense_are_refused_and_nothing_breaks(node: Node) -> None:
    with pytest.raises(LaunchError) as caught:
        await node.launcher._ask("run", {"id": "x"})
    assert caught.value.code == "refused"
    with pytest.raises(LaunchError):
        await node.launcher._ask("dance", {})
    assert (await node.run("true"))[0].code == 0


async def test_a_container_killed_while_it_is_set_up_never_runs(node: Node) -> None:
    read, write = os.pipe()
    for wait_s in (0.0, 0.001, 0.003, 0.006, 0.012):
        id = node.name()
        starting = asyncio.create_task(node.start("sh", "-c", "sleep 5; echo ran", output=write, id=id))
        await asyncio.sleep(wait_s)
        await node.launcher.kill(id)
        (outcome,) = await asyncio.gather(starting, return_exceptions=True)
        if outcome == id:
            assert (await node.ended(id)).signal == signal.SIGKILL
        else:
            assert isinstance(outcome, LaunchError)
            assert outcome.code == "system"
    os.close(write)
    assert await asyncio.to_thread(os.read, read, 10) == b""
    os.close(read)
