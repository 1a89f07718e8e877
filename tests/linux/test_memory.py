"""Memory that is passed by descriptor: its maker seals it, and each reader maps it privately."""

from __future__ import annotations

import gc
import mmap
import os

import pytest

from inrush.linux import memory


def test_it_holds_its_pieces_one_behind_the_other() -> None:
    fd = memory.make([b"ab", memoryview(b"cd"), b"", bytearray(b"ef")])  # type: ignore[list-item]
    assert memory.sealed_size(fd) == 6
    assert bytes(memory.mapped(fd, 6)) == b"abcdef"
    os.close(fd)


def test_nobody_can_change_or_shrink_it_once_it_was_made() -> None:
    fd = memory.make([b"x" * 4096])
    for change in (
        lambda: os.pwrite(fd, b"y", 0),
        lambda: os.ftruncate(fd, 10),
        lambda: os.ftruncate(fd, 10_000),
        lambda: mmap.mmap(fd, 4096),
    ):
        with pytest.raises(OSError, match=r"\[Errno"):
            change()
    os.close(fd)


def test_what_a_reader_writes_is_its_own() -> None:
    fd = memory.make([b"x" * 4096])
    mine, other = memory.mapped(fd, 4096), memory.mapped(fd, 4096)
    mine[0] = ord("y")
    assert (mine[0], other[0]) == (ord("y"), ord("x"))
    os.close(fd)
    assert other[1] == ord("x"), "it lives as long as somebody has it mapped"
    del mine, other
    gc.collect()


def test_what_could_still_be_changed_is_not_taken() -> None:
    open_one = os.memfd_create("open", os.MFD_ALLOW_SEALING)
    reading, writing = os.pipe()
    for fd in (open_one, reading):
        with pytest.raises(ValueError, match="memfd"):
            memory.sealed_size(fd)
    for fd in (open_one, reading, writing):
        os.close(fd)
