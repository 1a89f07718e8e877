"""What a process does about itself, tried in one of its own."""

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
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


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
