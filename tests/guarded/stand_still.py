"""A test for each of two workers that has a server with a container, says so, and waits for its end."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from inrush.launcher.machine import tag_of
from running_server import RunningServer, descendants

PROGRAM = """
import time
import inrush

app = inrush.App("stands-still")

@app.function(image=inrush.Image.host())
def stand():
    print("STANDS", flush=True)
    time.sleep(600)

@app.local_entrypoint()
def main():
    stand.remote()
"""


@pytest.mark.parametrize("side", [pytest.param(n, marks=pytest.mark.xdist_group(f"side-{n}")) for n in range(2)])
def test_stands_still(own_server: RunningServer, side: int) -> None:
    own_server.start()
    program = own_server.begin(PROGRAM)
    assert program.stdout is not None
    assert any("STANDS" in line for line in program.stdout)
    told = Path(os.environ["GUARDED_TELLS"], str(side))
    told.with_suffix(".new").write_text(
        json.dumps(
            {
                "worker": os.getpid(),
                "family": sorted(descendants(os.getpid())),
                "tag": tag_of(own_server.home),
                "home": str(own_server.home),
            }
        )
    )
    told.with_suffix(".new").rename(told)
    signal.pause()
