"""Functions that compute, on a real server: they get as many containers as the machine's processors can serve."""

from __future__ import annotations

import os
import re

import pytest

from running_server import RunningServer

PROGRAM = """
import os, time
import inrush

app = inrush.App("processors")
began = False


def compute(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@app.function()
def first(n):
    global began
    if not began:
        compute(0.5)
        began = True
    return os.environ["INRUSH_CONTAINER_ID"]


@app.cls()
class Starts:
    @inrush.enter()
    def up(self):
        compute(0.5)

    @inrush.method()
    def go(self, n):
        return os.environ["INRUSH_CONTAINER_ID"]


@app.function()
def waits(n):
    time.sleep(1.0)
    return os.environ["INRUSH_CONTAINER_ID"]


@app.local_entrypoint()
def main(what: str):
    function = {"first": first, "starts": Starts().go, "waits": waits}[what]
    print("CONTAINERS", len(set(function.map(range(60)))))
"""

CORES = len(os.sched_getaffinity(0))


def containers(server: RunningServer, what: str) -> int:
    out = server.run(server.write(PROGRAM), "--what", what, timeout_s=180.0).stdout
    return int(re.findall(r"CONTAINERS (\d+)", out)[0])


@pytest.mark.skipif(CORES > 8, reason="with many cores, 60 inputs need no bound")
@pytest.mark.parametrize("what", ["first", "starts"])
def test_a_map_whose_containers_compute_at_first_gets_few_of_them(server: RunningServer, what: str) -> None:
    """Without a bound there are as many as inputs. A loaded machine lets some more start, before it is known that they
    compute; how few there are on a quiet one is measured (benchmarks/)."""
    assert containers(server, what) <= 20


def test_a_map_whose_inputs_wait_gets_as_many_as_ever(server: RunningServer) -> None:
    assert containers(server, "waits") >= 30
