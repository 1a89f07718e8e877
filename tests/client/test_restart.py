"""A server that is killed and restarted under a program loses no result and delivers none twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
    import sys, time
    import inrush
    app = inrush.App("through")

    @app.function()
    @inrush.concurrent(max_inputs=8)
    def slow(x):
        time.sleep(0.02)
        return x

    @app.function()
    def once(x):
        time.sleep(3)
        return x

    if __name__ == "__main__":
        with app.run():
            slow.remote(0)
            got = []
            for x in slow.map(range(1500)):
                got.append(x)
                if len(got) == 200:
                    print("half", flush=True)
                    sys.stdin.readline()
            print(got == list(range(1500)), len(got), once.remote(7), flush=True)
"""


SPAWNER = """
    import asyncio, sys
    import inrush
    app = inrush.App("owned")

    @app.function(max_containers=2)
    @inrush.concurrent(max_inputs=32)
    def double(x):
        return 2 * x

    async def spawn(worker, ids):
        f = inrush.Function.from_name("owned", "double")
        for n in range(150):
            x = worker * 1000 + n
            call = await f.spawn.aio(x)
            ids[x] = call.object_id
            if len(ids) in (1000, 3000):
                print("some", len(ids), flush=True)

    async def main():
        ids = {}
        await asyncio.gather(*[spawn(worker, ids) for worker in range(32)])
        wrong = [x for x, id in ids.items() if await inrush.FunctionCall.from_id(id).get.aio(timeout=60) != 2 * x]
        print("done", len(ids), wrong, flush=True)

    if __name__ == "__main__":
        if sys.argv[1:] == ["deploy"]:
            app.deploy()
        else:
            asyncio.run(main())
"""


def test_no_acknowledged_spawn_is_lost_when_the_server_is_killed_under_many(own_server: Any, home: Path) -> None:
    own_server.start()
    path = home / "owned.py"
    path.write_text(textwrap.dedent(SPAWNER))
    command, env = [sys.executable, str(path)], own_server.env
    subprocess.run([*command, "deploy"], env=env, check=True, timeout=120)
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for count in (1000, 3000):
        assert process.stdout.readline() == f"some {count}\n"
        own_server.kill()
        own_server.start()
    out, err = process.communicate(timeout=240)
    assert out == "done 4800 []\n", err + own_server.log()
    with sqlite3.connect(home / "store.db") as rows:
        results = rows.execute("SELECT call, count(*) FROM results GROUP BY call").fetchall()
    assert {count for _, count in results} == {1}, "no call has two results"
    assert len(results) >= 4800


def begin(home: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    path = home / "through.py"
    path.write_text(textwrap.dedent(PROGRAM))
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, str(path)], env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_a_map_goes_on_when_the_server_is_killed_and_started_again(own_server: Any, home: Path) -> None:
    own_server.start()
    process = begin(home, own_server.env)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    own_server.kill()
    own_server.start()
    out, err = process.communicate("go\n", timeout=240)
    assert out == "True 1500 7\n", err + own_server.log()


def test_a_waiting_program_starts_the_local_server_again_itself(own_server: Any, home: Path) -> None:
    own_server.start()
    process = begin(home, own_server.env)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    own_server.kill()
    out, err = process.communicate("go\n", timeout=240)
    subprocess.run(
        [sys.executable, "-m", "inrush", "server", "stop", "-y"], env=own_server.env, check=True, timeout=120
    )
    assert out == "True 1500 7\n", err


def test_ctrl_c_ends_the_program_and_its_app(own_server: Any, home: Path) -> None:
    own_server.start()
    process = begin(home, own_server.env)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    os.kill(process.pid, signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert "KeyboardInterrupt" in err
    assert "has ended: it was stopped" in own_server.log()
