"""A declared set of GPUs shared by several apps under load: priorities, preemption, quotas, parts of devices, clusters;
and `inrush why` telling what was done."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from running_server import RunningServer, poll

APPS = """
import os, subprocess, sys, time
import inrush

batch, chat, small, wide = (inrush.App(name) for name in ("batch", "chat", "small", "wide"))


@batch.function(gpu="A100", priority=-1, max_containers=4)
def work(n, seconds):
    time.sleep(seconds)
    return n


@chat.function(gpu="A100", priority=10)
def answer(n):
    return n


@small.function(gpu="A100:0.5")
def part(seconds):
    time.sleep(seconds)
    return os.environ["CUDA_VISIBLE_DEVICES"] + " at " + os.environ["INRUSH_GPU_SHARE"]


@small.function(gpu="A100:2")
def two():
    return 2


@wide.function()
@inrush.clustered(3)
def rank(seconds):
    time.sleep(seconds * int(os.environ["INRUSH_CLUSTER_RANK"]))
    return os.environ["INRUSH_CLUSTER_RANK"] + " of " + os.environ["INRUSH_CLUSTER_SIZE"]


@wide.function()
@inrush.clustered(2)
def fails():
    if os.environ["INRUSH_CLUSTER_RANK"] == "1":
        raise ValueError("the second one fails")
    time.sleep(120)


@wide.function(node_labels={"disk": "nvme"}, region="north")
def near():
    return "here"


def why(name):
    done = subprocess.run([sys.executable, "-m", "inrush", "why", name], capture_output=True, text=True)
    print(done.stdout, done.stderr)


def wait_for(function, running):
    while function.get_current_stats().num_running_inputs < running:
        time.sleep(0.05)
"""


@pytest.fixture
def shared(own_server: RunningServer) -> RunningServer:
    own_server.env |= {"INRUSH_GPUS": "A100:4", "INRUSH_QUOTAS": "small=A100:1"}
    own_server.env |= {"INRUSH_REGION": "north", "INRUSH_LABELS": "disk=nvme"}
    own_server.start()
    return own_server


def run(server: RunningServer, app: str, body: str) -> str:
    """A program of these apps, that runs one of them."""
    main = f"\n@{app}.local_entrypoint()\ndef main():\n" + body
    program = server.write(APPS + main)
    return server.run(Path(f"{program}::{app}"), timeout_s=180.0).stdout


def test_higher_priority_has_running_work_make_way_and_what_had_to_go_runs_again(shared: RunningServer) -> None:
    body = """
    with chat.run():
        calls = [work.spawn(n, 15.0) for n in range(4)]
        wait_for(work, 4)
        began = time.monotonic()
        print("ANSWER", answer.remote(7), "in", time.monotonic() - began)
        why("work")
        print("RESULTS", sorted(call.get() for call in calls))
"""
    out = run(shared, "batch", body)
    assert "ANSWER 7" in out, out
    assert float(re.findall(r"ANSWER 7 in ([\d.]+)", out)[0]) < 10, "it waited for what ran"
    assert "answer has a higher priority and waits" in out, out
    assert "priority -1" in out, out
    assert "RESULTS [0, 1, 2, 3]" in out, out


def test_two_containers_share_a_device_and_a_quota_bounds_them(shared: RunningServer) -> None:
    body = """
    calls = [part.spawn(1.0) for _ in range(6)]
    print("PARTS", sorted({call.get() for call in calls}))
    call = two.spawn()
    time.sleep(1.0)
    why("two")
    call.cancel()
"""
    out = run(shared, "small", body)
    assert re.search(r"PARTS \['\d at 0.5'\]", out), "one whole A100 is the quota, and it was shared"
    assert "app small may hold 1 A100 at once by its quota" in out, out


def test_a_cluster_runs_each_input_in_all_its_containers_and_the_first_ones_result_counts(
    shared: RunningServer,
) -> None:
    body = """
    print("FIRST", rank.remote(0.0), "AGAIN", rank.remote(0.2), "AND", rank.remote(0.0))
    try:
        fails.remote()
    except ValueError as error:
        print("FAILED", error)
    print("NEAR", near.remote())
"""
    out = run(shared, "wide", body)
    assert "FIRST 0 of 3 AGAIN 0 of 3 AND 0 of 3" in out, out
    assert "FAILED the second one fails" in out, out
    assert "NEAR here" in out, out


def test_labels_that_no_node_has_are_refused_by_name(shared: RunningServer) -> None:
    far = """
@wide.function(node_labels={"disk": "tape"})
def far():
    return "there"
"""
    program = shared.write(APPS + far + "\n@wide.local_entrypoint()\ndef main():\n    print(far.remote())\n")
    done = shared.try_run(Path(f"{program}::wide"))
    assert "disk=tape" in done.stdout + done.stderr, done.stdout + done.stderr


@pytest.mark.slow
def test_two_hundred_containers_run_at_once_on_this_machine(shared: RunningServer) -> None:
    program = shared.begin(
        """
        import time
        import inrush

        app = inrush.App("many")

        @app.function(min_containers=200)
        def idle():
            return 1

        @app.local_entrypoint()
        def main():
            print("ONE", idle.remote(), flush=True)
            time.sleep(600)
        """
    )
    try:
        ready = lambda: [c for c in shared.containers() if c["state"] == "ready"]  # noqa: E731
        poll(lambda: len(ready()) >= 200, 240.0, lambda: f"{len(ready())} are ready\n{shared.log()}")
    finally:
        program.terminate()
        program.communicate(timeout=60)
