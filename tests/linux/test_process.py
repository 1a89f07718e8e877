"""Attributes that a process sets for itself, each tried in a new process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import inrush

KERNEL = tuple(int("".join(filter(str.isdigit, part))) for part in os.uname().release.split(".")[:2])


def _python(code: str) -> str:
    path = str(Path(inrush.__file__).parent.parent)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r})\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.skipif(KERNEL < (6, 1), reason="MADV_COLLAPSE is Linux 6.1")
def test_private_memory_is_put_on_huge_pages_and_keeps_its_content() -> None:
    code = """
from inrush.linux import process
held = bytearray(b"abc" * (16 << 20))
def huge():
    return sum(int(line.split()[1]) for line in open("/proc/self/smaps") if line.startswith("AnonHugePages"))
before = huge()
pages = process.collapse_memory()
print(pages, huge() - before, held == b"abc" * (16 << 20))
"""
    pages, gained_kib, same = _python(code).split()
    assert same == "True"
    assert int(pages) >= 20
    assert int(gained_kib) >= 16 * 1024


def test_all_descriptors_but_those_that_are_kept_are_closed() -> None:
    code = """
import os
from inrush.linux import process
fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]
process.close_descriptors({fds[3], fds[17], 1})
print([fds.index(fd) for fd in fds if os.path.exists(f"/proc/self/fd/{fd}")])
"""
    assert _python(code) == "[3, 17]\n"


def test_the_title_takes_the_place_of_the_command_line() -> None:
    code = """
from inrush.linux import process
process.set_title("inrush-test")
print(open("/proc/self/cmdline").read().strip(chr(0)), open("/proc/self/comm").read())
"""
    assert _python(code).split() == ["inrush-test", "inrush-test"]


def test_all_children_are_ended_with_those_that_one_made_while_it_was_killed() -> None:
    code = """
import os, time
from inrush.linux import namespaces, process
for attempt in range(60):
    read, write = os.pipe()
    if os.fork() == 0:
        for made in range(2000):
            if namespaces.fork_sibling() == 0:
                time.sleep(600)
            os.write(write, b".")
        time.sleep(600)
    os.read(read, 1)
    process.end_children()
    try:
        os.waitpid(-1, os.WNOHANG)
        print("left")
    except ChildProcessError:
        print("none")
    os.close(read), os.close(write)
"""
    assert _python(code).split() == ["none"] * 60
