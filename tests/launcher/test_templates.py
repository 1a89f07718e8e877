"""Templates: zygotes, snapshots, the containers forked from them, and templates that fail or are hostile."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from deadline import DEADLINE_S
from inrush.agent.containers.processes import Exits
from inrush.agent.images.store import ImageStore
from inrush.agent.templates.table import Templates as Kept
from inrush.launcher.client import LaunchError
from launcher.launched import UID_BASE, Node, needs_root

pytestmark = needs_root


async def test_a_container_forked_from_a_zygote_serves(node: Node) -> None:
    up = await node.template("t")
    assert up.threads == 1
    forked = await node.fork("t", env={"COLOR": "red"}, hostname="box", cwd="/var")
    assert await forked.ask("(os.getpid(), dict(os.environ), os.getcwd(), socket.gethostname())") == repr(
        (2, {"COLOR": "red"}, "/var", "box")
    )
    assert [name for name, _ in forked.started.phases[:2]] == ["mount", "fork"]
    forked.sock.close()
    exited = await node.ended(forked.id)
    assert (exited.code, exited.signal, exited.oom) == (0, 0, False)


async def test_a_working_directory_that_the_image_lacks_is_made(node: Node) -> None:
    await node.template("t")
    assert await (await node.fork("t", cwd="/not/there/yet")).ask("os.getcwd()") == "'/not/there/yet'"


async def test_children_of_a_snapshot_have_its_objects_and_its_files(node: Node) -> None:
    up = await node.template("t", boot={"before": "open('/root/made', 'w').write('by the hook')", "n": 7})
    assert up.report == {"ok": True}
    first, second = await node.fork("t"), await node.fork("t")
    for forked in (first, second):
        assert await forked.ask("state['boot']['n'], open('/root/made').read()") == "(7, 'by the hook')"
    await first.ask("open('/root/made', 'w').write('changed')")
    assert await second.ask("open('/root/made').read()") == "'by the hook'"
    assert await (await node.fork("t")).ask("open('/root/made').read()") == "'by the hook'"


async def test_what_a_template_has_made_is_out_of_its_childrens_garbage_collection(node: Node) -> None:
    await node.template("t")
    assert int(await (await node.fork("t")).ask("__import__('gc').get_freeze_count()")) > 1000


async def test_children_of_a_zygote_do_not_see_its_files(node: Node) -> None:
    rig = (node.layer / "root" / "rig.py").read_text()
    (node.layer / "root" / "messy.py").write_text("open('/root/mess', 'w').write('x')\n" + rig)
    await node.template("t", entry="messy")
    assert await (await node.fork("t")).ask("os.path.exists('/root/mess')") == "False"


async def test_a_fork_may_have_layers_that_its_template_has_not(node: Node) -> None:
    layer = node.state / "node" / "layers" / "source"
    (layer / "root").mkdir(parents=True)
    (layer / "root" / "program.py").write_text("answer = 42\n")
    await node.template("t")
    forked = await node.fork("t", root=node.root(str(layer)))
    assert await forked.ask("__import__('program').answer") == "42"


async def test_exit_codes_and_signals_of_forks_are_told(node: Node) -> None:
    await node.template("t")
    for expression, wanted in (("os._exit(5)", (5, 0)), ("sys.exit(6)", (6, 0)), ("os.abort()", None)):
        forked = await node.fork("t")
        await asyncio.get_running_loop().sock_sendall(forked.sock, expression.encode())
        exited = await node.ended(forked.id)
        if wanted:
            assert (exited.code, exited.signal) == wanted
        else:
            assert exited.signal in (signal.SIGABRT, signal.SIGSEGV)


async def test_a_fork_is_killed_with_all_it_started(node: Node) -> None:
    await node.template("t")
    forked = await node.fork("t")
    await forked.ask("[os.spawnvp(os.P_NOWAIT, 'sleep', ['sleep', '600']) for _ in range(3)]")
    assert (await node.launcher.usage(forked.id)).pids == 4
    await node.launcher.kill(forked.id)
    assert (await node.ended(forked.id)).signal == signal.SIGKILL


async def test_a_program_can_be_entered_into_a_fork(node: Node) -> None:
    await node.template("t")
    forked = await node.fork("t")
    await forked.ask("open('/root/here', 'w').write('inside')")
    read, write = os.pipe()
    script = "cat /root/here; grep -E '^(CapEff|Seccomp:)' /proc/self/status; hostname -I | wc -w"
    await node.launcher.enter(
        forked.id, ["sh", "-c", script], {"PATH": "/usr/bin:/bin"}, "/", 0, write, write, None, "ex"
    )
    os.close(write)
    with os.fdopen(read) as file:
        text = await asyncio.to_thread(file.read)
    assert text.split() == ["insideCapEff:", "0000000000000000", "Seccomp:", "2", "1"]
    assert (await node.ended("ex")).code == 0


async def test_fifty_at_once_all_serve(node: Node) -> None:
    await node.template("t")
    forks = await asyncio.gather(*(node.fork("t") for _ in range(50)))
    answers = await asyncio.gather(*(forked.ask("os.getpid() * 2") for forked in forks))
    assert answers == ["4"] * 50
    addresses = await asyncio.gather(
        *(forked.ask("open('/proc/net/fib_trie').read().count('/32')") for forked in forks)
    )
    assert len(addresses) == 50
    for forked in forks:
        forked.sock.close()
    exits = await asyncio.gather(*(node.ended(forked.id) for forked in forks))
    assert {exited.code for exited in exits} == {0}


async def test_a_closed_template_ends_after_its_last_container(node: Node) -> None:
    up = await node.template("t")
    forked = await node.fork("t")
    await node.launcher.close_template("t")
    with pytest.raises(LaunchError) as caught:
        await node.fork("t")
    assert caught.value.code == "unknown"
    assert await forked.ask("1 + 1") == "2"
    assert os.path.exists(f"/proc/{up.pid}")
    forked.sock.close()
    await node.ended(forked.id)
    await _until(lambda: not os.path.exists(f"/proc/{up.pid}"))
    assert not node.exit_of("t").done()  # it was asked to: nobody is told


async def test_a_key_can_be_opened_again_after_it_was_closed(node: Node) -> None:
    await node.template("t")
    with pytest.raises(LaunchError) as caught:
        await node.template("t")
    assert caught.value.code == "busy"
    await node.launcher.close_template("t")
    await node.launcher.close_template("t")
    await node.template("t")
    assert await (await node.fork("t")).ask("1") == "1"


async def test_the_death_of_a_template_is_told_with_that_of_its_containers(node: Node) -> None:
    up = await node.template("t")
    forked = await node.fork("t")
    os.kill(up.pid, signal.SIGKILL)
    assert (await node.ended("t")).signal == signal.SIGKILL
    assert (await node.ended(forked.id)).signal == signal.SIGKILL
    with pytest.raises(LaunchError):
        await node.fork("t")


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("raise ValueError('bad hook')", "bad hook"),
        ("import nosuch", "nosuch"),
        ("os._exit(4)", "ended"),
        ("os.kill(os.getpid(), 9)", "SIGKILL"),
    ],
)
async def test_a_template_that_fails_says_how(node: Node, before: str, said: str) -> None:
    with pytest.raises(LaunchError, match=said) as caught:
        await node.template("t", boot={"before": before})
    assert caught.value.code == "template"
    await node.template("t")  # the key is free again


async def test_a_template_that_never_is_ready_is_given_up(node: Node) -> None:
    with pytest.raises(LaunchError, match="not ready within"):
        await node.template("t", boot={"before": "time.sleep(600)"}, timeout_s=0.5)


async def test_a_template_counts_its_threads(node: Node) -> None:
    before = "import threading; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()"
    up = await node.template("t", boot={"before": before})
    assert up.threads == 2


HOSTILE = {
    "skips its isolation": """
import inrush.guest.isolate as i
i.settle = lambda *_: {}
""",
    "keeps its capabilities": """
import inrush.linux.confine as c
from inrush.linux import process, seccomp
c.confine = lambda code: process.no_new_privileges() or seccomp.load(code)
""",
    "stays in the namespaces of its template": """
import inrush.guest.isolate as i
i.fork_into = lambda door: os.fork()
""",
    "joins the berth of another": """
import inrush.guest.isolate as i
fork_into, doors = i.fork_into, []
def swapped(door):
    doors.insert(0, os.dup(door))
    for other in doors[1:]:
        try:
            return fork_into(other)
        except ProcessLookupError:
            pass
    return fork_into(door)
i.fork_into = swapped
""",
    "has no filter of its own": """
import inrush.linux.seccomp as s
s.load = lambda code: None
""",
    "leaves a helper with all capabilities in its berth": """
import inrush.guest.isolate as i
settle = i.settle
def helped(*arguments):
    if os.fork() == 0:
        time.sleep(600)
    return settle(*arguments)
i.settle = helped
""",
    "has a thread with all capabilities": """
import inrush.guest.isolate as i, threading
settle = i.settle
def helped(*arguments):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    return settle(*arguments)
i.settle = helped
""",
    "reports for a process that is not confined": """
import inrush.guest.isolate as i
wait = i.wait
def swapped(report, *arguments):
    if os.fork() == 0:
        return wait(report, *arguments)
    time.sleep(600)
i.wait = swapped
""",
}
"""What a template's code may do to its children's way, and must be found out."""


@pytest.mark.parametrize("how", HOSTILE)
async def test_a_child_that_is_not_isolated_is_found_and_killed(node: Node, how: str) -> None:
    await node.template("t", boot={"before": HOSTILE[how]})
    assert await _refusal(node) == "unconfined"
    assert (await node.run("true"))[0].code == 0


async def _refusal(node: Node) -> str:
    """How the launcher refuses a child that went astray; one that died with the berth it went to was never seen."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            with pytest.raises(LaunchError) as caught:
                await _fork_into_two_berths(node)
            if caught.value.code != "system":
                return caught.value.code


async def _fork_into_two_berths(node: Node) -> None:
    """Until two have been forked into berths that were made ahead, which begin with the second fork."""
    ahead = 0
    async with asyncio.timeout(DEADLINE_S):
        while ahead < 2:
            forked = await node.fork("t")
            ahead += "berth" in dict(forked.started.phases)
            forked.sock.close()
            await node.ended(forked.id)


@pytest.mark.parametrize(
    "words", ["'nonsense'", "[1]", "{'exit': 'co-9'}", "{'exit': 9}", "{'exit': None, 'status': 'x'}", "{'up': 3}"]
)
async def test_a_template_that_speaks_nonsense_does_no_harm(node: Node, words: str) -> None:
    say = f"import json; socket.socket(fileno=os.dup(3)).send(json.dumps({words}).encode())"
    with pytest.raises(LaunchError) as caught:
        await node.template("t", boot={"before": say + "\ntime.sleep(600)"}, timeout_s=1)
    assert caught.value.code == "template"
    assert (await node.run("true"))[0].code == 0


async def test_an_exit_reported_for_anothers_container_is_not_believed(node: Node) -> None:
    await node.template("other")
    victim = await node.fork("other")
    say = "for n in range(9): socket.socket(fileno=os.dup(3)).send(json.dumps({'exit': n, 'status': 0}).encode())"
    with pytest.raises(LaunchError):
        await node.template("t", boot={"before": f"import json\n{say}"})
    assert await victim.ask("1 + 1") == "2"
    assert not node.exit_of(victim.id).done()


async def test_template_and_children_draw_different_randomness_from_openssl(node: Node) -> None:
    await node.template("t", boot={"before": "import ssl; ssl.RAND_bytes(8)"})
    drawn = [await (await node.fork("t")).ask("(os.getpid(), __import__('ssl').RAND_bytes(8))") for _ in range(2)]
    assert all(answer.startswith("(2, ") for answer in drawn)
    assert drawn[0] != drawn[1]


async def _until(condition: object, seconds: float = DEADLINE_S) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_container_killed_while_it_is_forked_does_not_live(node: Node) -> None:
    await node.template("t")
    for wait_s in (0.0, 0.001, 0.003, 0.006):
        id = node.name()
        starting = asyncio.create_task(node.fork("t", id=id))
        await asyncio.sleep(wait_s)
        await node.launcher.kill(id)
        (outcome,) = await asyncio.gather(starting, return_exceptions=True)
        if isinstance(outcome, LaunchError):
            assert outcome.code in ("system", "root")
        else:
            assert (await node.ended(id)).signal == signal.SIGKILL
    assert await (await node.fork("t")).ask("1") == "1"


async def test_one_that_is_wanted_while_another_makes_room_stays(node: Node) -> None:
    images = ImageStore(node.state / "node", node.launcher, Exits(), lambda _: UID_BASE + 65536, budget_gib=1.0)
    kept = Kept(node.launcher, images, budget_mib=4096.0)
    idle, wanted = (node.template_spec(key) for key in ("idle", "wanted"))
    for spec in (idle, wanted):
        async with kept.use(spec, ttl_s=3600.0):
            pass
    making_room = asyncio.create_task(kept.make_room(0.0))
    await asyncio.sleep(0)  # a turn of the loop later the end of the first has been asked for, and not yet confirmed
    assert not kept.is_open(idle.key)
    assert not making_room.done()
    async with kept.use(wanted, ttl_s=3600.0):
        await making_room
        assert kept.is_open(wanted.key)
        assert await (await node.fork(wanted.key)).ask("6 * 7") == "42"
    await kept.close()
