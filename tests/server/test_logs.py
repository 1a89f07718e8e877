"""Logs: kept in memory and on disk within limits, and followed without delaying the writer."""

from __future__ import annotations

import asyncio
from pathlib import Path

from inrush.server import logs as module
from inrush.server.logs import Line, Logs


def line(number: int, container: str = "co-1", size: int = 0) -> Line:
    return Line(float(number), container, "f", "", "stdout", f"line {number}" + "x" * size + "\n")


class Slow:
    """A follower that can be made to have no room."""

    def __init__(self) -> None:
        self.full = False
        self.lines: list[Line] = []

    def room(self) -> bool:
        return not self.full

    def line(self, line: Line) -> None:
        self.lines.append(line)


async def test_the_latest_lines_are_given_oldest_first(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs", 1024 * 1024)
    for i in range(10):
        logs.write("ap-1", line(i, f"co-{i % 2}"))
    assert [x.time for x in logs.latest("ap-1", 3)] == [7, 8, 9]
    assert [x.time for x in logs.latest("ap-1", 2, "co-0")] == [6, 8]
    assert logs.latest("ap-2", 5) == []


async def test_lines_are_there_after_a_restart_even_where_a_crash_cut_one(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs", 1024 * 1024)
    for i in range(5):
        logs.write("ap-1", line(i))
    logs.close()
    path = tmp_path / "logs" / "ap-1.log"
    path.write_bytes(path.read_bytes() + b'[5.0,"co-1","f"')
    again = Logs(tmp_path / "logs", 1024 * 1024)
    assert [x.time for x in again.latest("ap-1", 3)] == [2, 3, 4]


async def test_an_app_that_prints_without_end_keeps_to_its_disk_and_memory(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs", 1024 * 1024)
    for i in range(6000):
        logs.write("ap-1", line(i, size=1000))
    logs.close()
    sizes = [path.stat().st_size for path in (tmp_path / "logs").iterdir()]
    assert len(sizes) == 2
    assert sum(sizes) < 1024 * 1024 + 2 * module.FLUSH_BYTES + 4096
    again = Logs(tmp_path / "logs", 1024 * 1024)
    assert again.latest("ap-1", 1)[0].time == 5999


async def test_more_lines_than_memory_holds_come_from_the_file(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs", 64 * 1024 * 1024)
    for i in range(module.RING_LINES + 500):
        logs.write("ap-1", line(i))
    found = logs.latest("ap-1", module.RING_LINES + 200)
    assert [found[0].time, found[-1].time] == [300, module.RING_LINES + 499]


async def test_a_slow_follower_loses_lines_and_is_told_how_many(tmp_path: Path) -> None:
    logs, slow = Logs(tmp_path / "logs", 1024 * 1024), Slow()
    end = logs.follow("ap-1", slow)
    logs.write("ap-1", line(0))
    slow.full = True
    for i in range(1, 6):
        logs.write("ap-1", line(i))
    slow.full = False
    logs.write("ap-1", line(6))
    assert [x.time for x in slow.lines] == [0, 6, 6]
    assert "5 lines left out" in slow.lines[1].text
    end()
    logs.write("ap-1", line(7))
    assert len(slow.lines) == 3


async def test_a_slow_follower_is_told_though_no_further_line_comes(tmp_path: Path) -> None:
    logs, slow = Logs(tmp_path / "logs", 1024 * 1024), Slow()
    logs.follow("ap-1", slow)
    slow.full = True
    for i in range(3):
        logs.write("ap-1", line(i))
    slow.full = False
    async with asyncio.timeout(20):
        while not slow.lines:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
    assert ["3 lines left out" in x.text for x in slow.lines] == [True]
    logs.close()


async def test_logs_of_long_ended_apps_are_removed(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs", 1024 * 1024)
    for i in range(module.KEPT_APPS + 5):
        logs.write(f"ap-{i}", line(0))
        logs.close_app(f"ap-{i}")
    assert len(list((tmp_path / "logs").iterdir())) == module.KEPT_APPS
