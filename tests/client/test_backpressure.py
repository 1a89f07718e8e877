"""Backpressure: a sender that is faster than its reader waits, or the reader is told what was dropped. Memory stays
bounded."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from inrush import wire
from inrush.client._calling import ITEMS_AHEAD

DEADLINE_S = 60.0
LINES, SIZE = 100_000, 1000
"""100 MB."""


class LogReader:
    """Follows the logs of an app, and reads when it is told to. With `backlog` it gets what there is, and no more."""

    def __init__(self, home: Path, app: str, backlog: int = 0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(home / "run" / "server.sock"))
        self._socket.settimeout(DEADLINE_S)
        self._file = self._socket.makefile("rb")
        self.text = {"stdout": "", "system": ""}
        self._following = False
        self._send(wire.Hello("cl-reader"), wire.Ask(1, wire.FollowLogs(app, backlog, follow=not backlog)))
        self.until(lambda: self._following)

    def _send(self, *messages: Any) -> None:
        frame = wire.encode(list(messages))
        self._socket.sendall(wire.FRAME.pack(len(frame)) + frame)

    def _batch(self) -> list[Any]:
        (length,) = wire.FRAME.unpack(self._file.read(4))
        return list(wire.to_client_decoder.decode(self._file.read(length)))

    def until(self, there: Callable[[], bool]) -> None:
        """Reads until that is so."""
        while not there():
            for message in self._batch():
                if isinstance(message, wire.Log) and message.stream in self.text:
                    self.text[message.stream] += message.text
                self._following = self._following or isinstance(message, wire.Answer)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def characters(text: str, pattern: str) -> int:
    return sum(int(found.replace(",", "")) for found in re.findall(pattern, text))


def test_what_is_dropped_of_a_flood_of_output_is_said_to_the_character(connected: Any, calling: ModuleType) -> None:
    before = rss_mib(connected.pid)
    grown_kib = calling.chatter.remote(LINES, SIZE)
    assert rss_mib(connected.pid) - before < 128
    reader = LogReader(connected.home, "calling", backlog=100_000)
    dropped = characters(reader.text["system"], r"\[([\d,]+) characters of output dropped")
    assert len(reader.text["stdout"]) > 1_000_000, "the first stretch is shown"
    assert len(reader.text["stdout"]) + dropped == LINES * SIZE
    assert grown_kib < 32 * 1024
    reader.close()


def test_who_reads_logs_slowly_loses_lines_and_is_told_and_the_server_does_not_grow(
    connected: Any, calling: ModuleType
) -> None:
    reader = LogReader(connected.home, "calling")
    calling.square.remote(1)
    before = rss_mib(connected.pid)
    for _ in range(4):  # a container may print 8 MiB at once, and the map may have few of them
        list(calling.chatter.map([LINES // 4] * 4, [SIZE] * 4))
    assert rss_mib(connected.pid) - before < 128
    reader.until(lambda: "lines left out: the reader is slower than the writer" in reader.text["system"])
    reader.close()
    assert calling.square.remote(3) == 9


def test_a_generator_of_which_nobody_reads_stops_producing(calling: ModuleType) -> None:
    stream = calling.moments.remote_gen(4 * ITEMS_AHEAD)
    made = [next(stream)]
    assert calling.square.remote(2) == 4
    resumed = time.monotonic()
    made += list(stream)
    assert len(made) == 4 * ITEMS_AHEAD
    assert made == sorted(made)
    assert made[ITEMS_AHEAD + 1] > resumed, "beyond its credit it made one, and waited until somebody read on"
