"""Snapshots and what zygotes have learned, as people meet them: by `inrush run`, `inrush why`, and the logs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from e2e.test_language_model_image import VERSION
from running_server import RunningServer, poll

FALLS_BACK = """
import threading, time
import inrush

app = inrush.App("falls-back")

@app.cls(enable_memory_snapshot=True)
class Busy:
    @inrush.enter(snap=True)
    def load(self):
        threading.Thread(target=time.sleep, args=(3600,), name="busybody", daemon=True).start()

    @inrush.method()
    def get(self):
        print("SERVED", flush=True)
        return 7

@app.local_entrypoint()
def main():
    print("GOT", Busy().get.remote())
    time.sleep(600)
"""


def test_a_class_that_cannot_be_forked_starts_plainly_and_why_and_the_logs_say_for_what_reason(
    server: RunningServer,
) -> None:
    program = server.begin(FALLS_BACK)
    printed = ""
    assert program.stdout is not None
    try:
        for line in program.stdout:
            printed += line
            if "GOT" in line:
                break
        assert "GOT 7" in printed
        why = server.inrush("why", "falls-back::Busy")
        assert "busybody" in why.stdout, why.stdout + why.stderr
        poll(lambda: "busybody" in server.inrush("app", "logs", "falls-back").stdout, 60, server.log)
    finally:
        program.kill()
        program.communicate()


LOADS_ONCE = """
import os, sys, time
import inrush

app = inrush.App("loads-once")

@app.cls(enable_memory_snapshot=True)
class Model:
    @inrush.enter(snap=True)
    def load(self):
        self.token = os.urandom(8).hex()

    @inrush.method()
    def get(self):
        return self.token

@app.local_entrypoint()
def main():
    print("TOKEN", Model().get.remote())
"""


def test_a_program_that_is_run_twice_loads_once(server: RunningServer) -> None:
    path = server.write(LOADS_ONCE)
    first, second = (server.run(path).stdout.partition("TOKEN ")[2].split()[0] for _ in range(2))
    assert first == second


TORCH = f"""
import json, os, time
import inrush

packages = inrush.Image.debian_slim().pip_install("torch=={VERSION}", "transformers", "accelerate", "gguf", "fastapi")
app = inrush.App("torch-snapshots", image=packages)

@app.cls(enable_memory_snapshot=True, min_containers=2, timeout=300)
class Forked:
    @inrush.enter(snap=True)
    def load(self):
        import random, ssl
        import numpy, torch
        self.torch, self.numpy, self.random, self.ssl = torch, numpy, random, ssl
        torch.manual_seed(1), numpy.random.seed(1), random.seed(1), ssl.RAND_bytes(8)
        self.ones = torch.ones(600, 600)
        self.loaded_by = os.environ.get("INRUSH_CONTAINER_ID", "the snapshot")

    @inrush.method()
    def look(self, n):
        time.sleep(0.2)
        drawn = [self.torch.rand(1).item(), float(self.numpy.random.random()), self.random.random()]
        product = float((self.ones @ self.ones).sum())
        in_parallel = len(os.listdir("/proc/self/task"))
        return {{
            "container": os.environ["INRUSH_CONTAINER_ID"],
            "loaded by": self.loaded_by,
            "drawn": [*drawn, self.ssl.RAND_bytes(8).hex()],
            "threads": [self.torch.get_num_threads(), len(os.sched_getaffinity(0)), in_parallel],
            "product": product,
            "hash": hash("text"),
            "pid": os.getpid(),
        }}

@app.cls(enable_memory_snapshot=True, timeout=300)
class Threaded:
    @inrush.enter(snap=True)
    def load(self):
        import torch
        torch.set_num_threads(4)
        self.sum = float((torch.ones(600, 600) @ torch.ones(600, 600)).sum())

    @inrush.method()
    def again(self):
        import torch
        return self.sum == float((torch.ones(600, 600) @ torch.ones(600, 600)).sum()), os.environ["INRUSH_CONTAINER_ID"]

@app.function(timeout=300)
def imports():
    began = time.monotonic()
    import torch
    return time.monotonic() - began

@app.local_entrypoint()
def main():
    print("LOOKS", json.dumps(list(Forked().look.map(range(20)))))
    print("AGAIN", json.dumps(Threaded().again.remote()))
    import subprocess, sys
    command = [sys.executable, "-m", "inrush", "why", "torch-snapshots::Threaded"]
    why = subprocess.run(command, capture_output=True, text=True)
    print("WHY", json.dumps(why.stdout))
    imports.remote()
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.xdist_group("language-model")
def test_containers_of_a_torch_snapshot_differ_in_chance_compute_on_many_threads_and_share_the_rest(
    server: RunningServer,
) -> None:
    done = server.run(TORCH, timeout_s=1400)
    told = {
        word: json.loads(rest)
        for word, _, rest in (line.partition(" ") for line in done.stdout.splitlines())
        if word in ("LOOKS", "AGAIN", "WHY")
    }
    looks: list[dict[str, Any]] = told["LOOKS"]
    one_of_each = {look["container"]: look for look in looks}.values()
    assert len(one_of_each) >= 2, looks
    assert {look["loaded by"] for look in looks} == {"the snapshot"}, done.stdout + done.stderr
    first, second, *_ = one_of_each
    assert all(a != b for a, b in zip(first["drawn"], second["drawn"], strict=True)), (first, second)
    assert {look["product"] for look in looks} == {600.0**3}
    for look in one_of_each:
        threads, cores, in_parallel = look["threads"]
        assert threads == cores
        assert in_parallel >= cores
    assert (first["hash"], first["pid"]) == (second["hash"], second["pid"])  # what they share, as documented
    assert told["AGAIN"][0] is True
    assert "threads" in told["WHY"], told["WHY"]
