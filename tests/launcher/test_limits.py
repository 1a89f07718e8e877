"""Limits on memory, processor time, processes and disk of a container, and the usage that is reported."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

from inrush.launcher.machine import tag_of
from inrush.launcher.specs import Limits
from launcher.launched import Node, needs_root

pytestmark = needs_root

_EAT = "x = []\nwhile True: x.append(bytearray(4 << 20))"


async def test_a_program_over_its_memory_limit_is_killed_and_it_is_called_that(node: Node) -> None:
    exited, _ = await node.python(_EAT, limits=Limits(memory_mib=64))
    assert exited.oom
    assert exited.signal == signal.SIGKILL
    assert 48 <= exited.memory_peak_mib <= 64


async def test_a_fork_over_its_memory_limit_is_killed_and_its_siblings_live(node: Node) -> None:
    await node.template("t")
    eater, sibling = await node.fork("t", limits=Limits(memory_mib=64)), await node.fork("t")
    await asyncio.get_running_loop().sock_sendall(eater.sock, b"[bytearray(4 << 20) for _ in range(1000)]")
    exited = await node.ended(eater.id)
    assert exited.oom
    assert exited.signal == signal.SIGKILL
    assert await sibling.ask("1 + 1") == "2"


async def test_files_in_memory_count_as_memory(node: Node) -> None:
    code = "open('/root/big', 'wb').write(bytes(200 << 20))"
    exited, _ = await node.python(code, limits=Limits(memory_mib=64))
    assert exited.oom


async def test_a_program_that_fails_by_itself_is_not_called_out_of_memory(node: Node) -> None:
    exited, _ = await node.python("raise SystemExit(3)", limits=Limits(memory_mib=64))
    assert (exited.code, exited.oom) == (3, False)


async def test_the_quota_of_processor_time_holds(node: Node) -> None:
    code = """
import time
begin = time.monotonic()
while time.monotonic() - begin < 2: pass
print(time.process_time())
"""
    exited, text = await node.python(code, limits=Limits(cpu=0.25))
    assert exited.code == 0
    assert float(text) < 1.0  # without a quota it would be near 2
    assert exited.cpu_s < 1.2


async def test_a_fork_bomb_ends_at_the_limit_of_processes(node: Node) -> None:
    code = """
import os, time
n = 0
try:
    while n < 200:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        n += 1
except BlockingIOError:
    print("stopped at", n)
"""
    exited, text = await node.python(code, limits=Limits(pids=20))
    assert text.startswith("stopped at 1")
    assert exited.code == 0


async def test_the_disk_of_a_container_ends_where_it_was_told(node: Node) -> None:
    root = replace(node.root(), disk_mib=8)
    code = "open('/root/big', 'wb').write(bytes(9 << 20))"
    exited, text = await node.python(code, root=root)
    assert exited.code == 1
    assert "No space left" in text


async def test_usage_is_told_while_it_runs(node: Node) -> None:
    await node.template("t")
    forked = await node.fork("t")
    before = await node.launcher.usage(forked.id)
    assert before.pids == 1
    await forked.ask("sys.modules['rig'].__dict__.update(held=b'x' * (32 << 20)) or sum(range(3_000_000)) and None")
    after = await node.launcher.usage(forked.id)
    assert after.memory_mib > before.memory_mib + 25
    assert after.memory_peak_mib >= after.memory_mib
    assert after.cpu_s > before.cpu_s


async def test_the_time_of_each_thread_is_told_and_whether_it_wants_a_processor(node: Node) -> None:
    await node.template("t")
    forked, other = await node.fork("t"), await node.fork("t")
    at, before = await node.launcher.threads([forked.id, "no-such-container"])
    assert list(before) == [forked.id]
    await forked.ask("sum(range(3_000_000)) and None")
    later, after = await node.launcher.threads([forked.id, other.id])
    assert set(after) == {forked.id, other.id}
    ran_ns = sum(ran for _, ran, _, _ in after[forked.id]) - sum(ran for _, ran, _, _ in before[forked.id])
    assert 1e6 < ran_ns <= (later - at) * 1e9
    assert not any(runnable for *_, runnable in after[other.id]), "it waits for its socket"


async def test_without_a_limit_memory_is_the_nodes_less_the_reserve(node: Node) -> None:
    await node.template("t")
    forked = await node.fork("t")
    file = next(Path("/sys/fs/cgroup").glob(f"*/inrush-{tag_of(node.state)}/{forked.id}/memory.limit_in_bytes"), None)
    file = file or next(Path("/sys/fs/cgroup").glob(f"inrush-{tag_of(node.state)}/{forked.id}/memory.max"))
    total_kib = int(Path("/proc/meminfo").read_text().split()[1])
    assert int(file.read_text()) <= (total_kib - 500 * 1024) * 1024
