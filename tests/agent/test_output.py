"""What containers print, through real pipes."""

from __future__ import annotations

import asyncio
import os

import pytest

from inrush.agent.containers import output
from inrush.agent.containers.output import OutputLimit, read_pipe
from inrush.wire import ContainerLog


async def printed(data: bytes) -> list[ContainerLog]:
    """The log messages that come of these bytes on a pipe."""
    logs: list[ContainerLog] = []
    limit = OutputLimit(logs.append, "co-1")
    read, write = os.pipe()
    reader = await read_pipe(read, lambda text: limit.emit("", "stdout", text))
    await asyncio.to_thread(_write_all, write, data)
    await asyncio.wait_for(reader.closed, 30)
    limit.tell_dropped()
    return logs


def _write_all(fd: int, data: bytes) -> None:
    with open(fd, "wb") as file:
        file.write(data)


async def test_output_is_cut_at_line_ends_and_the_last_line_needs_none() -> None:
    logs = await printed(b"one\ntwo\nthree")
    assert "".join(log.text for log in logs) == "one\ntwo\nthree\n"
    assert all(log.text.endswith("\n") for log in logs)
    assert {(log.container, log.stream) for log in logs} == {("co-1", "stdout")}


async def test_bytes_that_are_no_text_are_shown_as_replaced() -> None:
    assert [log.text for log in await printed(b"a\xff\n")] == ["a\ufffd\n"]


async def test_a_line_without_end_is_cut_and_not_kept() -> None:
    logs = await printed(b"x" * 1_000_000)
    assert sum(log.text.count("x") for log in logs) == 1_000_000
    assert len(logs) > 5


async def test_output_over_the_limit_is_dropped_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "BURST_BYTES", 100_000)
    monkeypatch.setattr(output, "RATE_BYTES_PER_S", 1)
    logs = await printed(b"0123456789abcde\n" * 100_000)
    kept = sum(len(log.text) for log in logs if log.stream == "stdout")
    assert kept <= 100_001
    told = [int(log.text[1:].split()[0].replace(",", "")) for log in logs if log.stream == "system"]
    assert kept + sum(told) == 1_600_000
