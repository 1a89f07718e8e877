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


async def test_a_pipe_is_read_no_faster_than_the_loop_can_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "READ_BYTES_PER_S", 4 * 1024 * 1024)
    size, came = 4 * 1024 * 1024, 0

    def take(text: str) -> None:
        nonlocal came
        came += len(text)

    read, write = os.pipe()
    reader = await read_pipe(read, take)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.to_thread(_write_all, write, b"x" * 99 * 1024 + b"\n" + b"y\n" * ((size - 99 * 1024) // 2))
    await asyncio.wait_for(reader.closed, 30)
    assert came >= size - 2, "it is slow, and nothing is lost"
    assert loop.time() - began > 0.2, "without a limit it takes some milliseconds"


async def test_the_last_lines_of_a_process_are_bounded_in_bytes() -> None:
    collected = output.Collected()
    for n in range(100):
        collected.add("stdout", f"{n}" + "x" * 100_000 + "\n")
    assert sum(len(text) for _, text in collected._lines) <= output.COLLECTED_BYTES
    assert collected._lines[-1][1].startswith("99")


async def test_many_empty_lines_are_a_flood_too() -> None:
    logs: list[ContainerLog] = []
    limit = OutputLimit(logs.append, "co-1")
    for _ in range(output.BURST_BYTES // output.LINE_COST_BYTES + 10_000):
        limit.emit("", "stdout", "")
    assert len(logs) < output.BURST_BYTES // output.LINE_COST_BYTES + 10_000
