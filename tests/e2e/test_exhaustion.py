"""What a server runs out of: who is told, who waits, and what nobody notices."""

from __future__ import annotations

import resource
from pathlib import Path

from running_server import RunningServer

LIMIT = """
import inrush, resource
app = inrush.App("limit", image=inrush.Image.host())
@app.function()
def f():
    return resource.getrlimit(resource.RLIMIT_NOFILE)
@app.local_entrypoint()
def main():
    print(f.remote())
"""


def test_a_server_raises_its_limit_of_open_files_and_containers_keep_the_one_before(own_server: RunningServer) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    try:
        own_server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    limits = Path(f"/proc/{own_server.pid}/limits").read_text().splitlines()
    assert next(line.split()[3:5] for line in limits if line.startswith("Max open files")) == [str(before[1])] * 2
    assert str((1024, before[1])) in own_server.run(LIMIT).stdout
