"""Pools of nodes with a real server and real containers: several functions want a GPU that only pools' nodes have."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from running_server import RunningServer, poll

POOLS = """
[[pools]]
name = "cheap"
kind = "simulated"
cloud = "aws"
region = "north"
nodes_max = 2
gpu_type = "A100"
gpus = 2
price = 4.0
node_s = 0.5
keep_s = 2.0
stockouts = [[0, {out_s}]]

[[pools]]
name = "dear"
kind = "simulated"
cloud = "gcp"
nodes_max = 2
gpu_type = "A100"
gpus = 4
price = 20.0
node_s = 0.5
keep_s = 2.0
"""

APP = """
import os, sys, time
import inrush

app = inrush.App("mix")


def seen():
    return os.environ["INRUSH_GPU_TYPE"] + " " + os.environ["CUDA_VISIBLE_DEVICES"]


@app.function(gpu="A100")
def one(n):
    time.sleep(1.0)
    return f"{n} on {seen()}"


@app.function(gpu="A100:2")
def two(n):
    return f"{n} on {seen()}"


@app.function(gpu="A100:0.5", cloud="gcp")
def half(n):
    return f"{n} on {seen()} at {os.environ['INRUSH_GPU_SHARE']}"


@app.local_entrypoint()
def main():
    calls = [two.spawn(0), half.spawn(0)]
    for told in [*one.map(range(4)), *(call.get() for call in calls)]:
        print("TOLD", told, flush=True)
    time.sleep(float(os.environ.get("STAY_S", "0")))
"""


def pools(server: RunningServer) -> dict[str, dict[str, Any]]:
    told = server.inrush("pool", "list", "--json")
    assert told.returncode == 0, told.stderr
    return {pool["name"]: pool for pool in json.loads(told.stdout)}


def with_pools(server: RunningServer, out_s: float) -> RunningServer:
    (server.home / "pools.toml").write_text(POOLS.format(out_s=out_s))
    server.env |= {"INRUSH_GPUS": "", "INRUSH_POOLS": "pools.toml"}
    server.start()
    return server


def told(out: str) -> list[str]:
    return sorted(re.findall(r"TOLD (.*)", out))


def test_calls_wait_for_nodes_of_the_cheapest_pool_that_has_some_and_they_are_given_back(
    own_server: RunningServer,
) -> None:
    server = with_pools(own_server, out_s=0.001)
    out = server.run(APP).stdout
    assert [line.split(" at ")[-1] for line in told(out) if " at " in line] == ["0.5"]
    assert len(told(out)) == 6, out
    assert all("on A100 " in line for line in told(out)), out
    assert any("on A100 0,1" in line for line in told(out)), "two cards of one node"
    cheap, dear = (pools(server)[name]["told"] for name in ("cheap", "dear"))
    assert any("ordered" in line for line in cheap), cheap
    assert [line for line in dear if "ordered" in line], "half runs in gcp alone"
    poll(lambda: not any(pool["nodes"] + pool["coming"] for pool in pools(server).values()), 60, server.log)
    text = " ".join(" ".join(pool["told"]) for pool in pools(server).values())
    assert re.search(r"gave back no-cheap-\d.*: empty for 2 s", text), text
    shown = server.inrush("pool", "list").stdout
    assert re.search(r"^cheap +simulated +aws +north +A100 +2 +4 +0 +0 +2$", shown, re.MULTILINE), shown


def test_a_pool_that_is_stocked_out_is_passed_over_and_why_says_so(own_server: RunningServer) -> None:
    server = with_pools(own_server, out_s=3600)
    program = server.begin(APP.replace(", half.spawn(0)]", "]"))
    over = re.compile(r"pool dear, [\d.]+ s ago: ordered \d: .*cheap could not: cheap has no more nodes to give")
    whys = [""]

    def went_over() -> object:
        whys.append(server.inrush("why", "one").stdout)
        return over.search(whys[-1])

    try:
        poll(went_over, 60, lambda: f"{whys[-1]}\n{server.log()}")
        assert re.search(r"pool cheap, a node for 4 an hour: 0 there, at most 2.*asked again in", whys[-1]), whys[-1]
        assert pools(server)["cheap"]["blocked"] == "could not: cheap has no more nodes to give"
        out, _ = program.communicate(timeout=120)
    finally:
        program.kill()
        program.wait()
    assert program.returncode == 0, out
    assert len(told(out)) == 5, out
    assert "no-cheap" not in " ".join(pools(server)["cheap"]["told"])


def test_containers_of_simulated_nodes_end_with_a_server_that_is_killed(own_server: RunningServer) -> None:
    server = with_pools(own_server, out_s=0.001)
    server.env |= {"STAY_S": "600"}
    program = server.begin(APP.replace("time.sleep(1.0)", "time.sleep(600)"))
    try:
        poll(
            lambda: any(c["state"] == "ready" and c["node"] != "no-local" for c in server.containers()), 60, server.log
        )
        server.kill()  # which waits until nothing that it started is left
    finally:
        program.kill()
        program.wait()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[pools]]\nname = "x"\nkind = "simulated"\nnodes_max = 1\nnode_sec = 4', "'node_sec' is not known; did you"),
        (None, "cannot be read (No such file or directory); it names a TOML file with [[pools]] tables"),
    ],
)
def test_a_server_with_a_broken_file_says_so_and_does_not_start(
    own_server: RunningServer, text: str | None, said: str
) -> None:
    own_server.env |= {"INRUSH_POOLS": "pools.toml"}
    if text is not None:
        (own_server.home / "pools.toml").write_text(text)
    done = own_server.inrush("server")
    assert done.returncode == 1
    assert said in done.stderr, done.stderr
    assert str(own_server.home / "pools.toml") in done.stderr


def test_what_neither_the_node_nor_a_pool_has_is_refused_at_once(own_server: RunningServer) -> None:
    server = with_pools(own_server, out_s=0.001)
    done = server.try_run(APP.replace('gpu="A100:2"', 'gpu="H100"'))
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert "no node has H100; there is no GPU at all; nor will a node of a pool: cheap has 2 A100" in said, said
