"""Snapshots: a template that imports and settles, and containers forked from it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deadline import DEADLINE_S
from guest.guest_process import OK, GuestProcess, arguments

FORKER = """
import json, os, socket, sys
from inrush.guest.main import Guest
from inrush.guest.template import template
boot, fd = json.loads(sys.argv[1]), int(sys.argv[2])
made, report = template(boot)
print("report: " + json.dumps(report), flush=True)
control = socket.socket(fileno=fd)
if not report["ok"]:
    sys.exit(0)
while received := socket.recv_fds(control, 1, 1)[1]:
    if not os.fork():
        control.close()
        os._exit(Guest(made).live(socket.socket(fileno=received[0])))
    os.close(received[0])
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""As templates are started."""

PROGRAM = """
import random
import numpy
import ssl
from inrush.client._marks import enter
class C:
    @enter(snap=True)
    def load(self):
        self.model = list(range(1000))
        self.pid = __import__("os").getpid()
        random.seed(1)
        numpy.random.seed(1)
        ssl.RAND_bytes(8)
    @enter()
    def connect(self):
        self.connected = True
    def chance(self):
        return random.random(), float(numpy.random.random()), ssl.RAND_bytes(8)
    def look(self):
        import os
        return len(self.model), self.connected, self.pid != os.getpid(), os.environ.get("WHO")
"""


class Templates:
    """A process that made a template, and guests forked from it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.guests: list[GuestProcess] = []

    def make(self, source: str, qualname: str = "C", **spec: Any) -> dict[str, Any]:
        (self.root / "program.py").write_text(source)
        self.spec = {"module": "program", "qualname": qualname, "root": str(self.root), "is_class": True, **spec}
        self.control, theirs = socket.socketpair()
        command = [sys.executable, "-c", FORKER, json.dumps({"spec": self.spec}), str(theirs.fileno())]
        self.process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD}
        )
        theirs.close()
        assert self.process.stdout is not None
        printed, marker = "", "report: "
        while marker not in printed:
            printed += self.process.stdout.readline()
        self.printed, _, line = printed.partition(marker)
        report: dict[str, Any] = json.loads(line)
        return report

    def fork(self, **spec: Any) -> GuestProcess:
        guest = GuestProcess.__new__(GuestProcess)
        ours, theirs = socket.socketpair()
        socket.send_fds(self.control, [b"f"], [theirs.fileno()])
        theirs.close()
        guest.attach(ours, self.root)
        self.guests.append(guest)
        guest.send({"t": "load", "spec": {**self.spec, "max_inputs": 1, "timeout_s": 60, **spec}})
        guest.expect("ready")
        return guest

    def close(self) -> None:
        for guest in self.guests:
            guest.socket.close()
        self.control.close()
        self.process.wait(DEADLINE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def templates(tmp_path: Path) -> Iterator[Templates]:
    made = Templates(tmp_path)
    yield made
    made.close()


def test_containers_start_from_the_template_and_run_the_other_hooks(templates: Templates) -> None:
    report = templates.make(PROGRAM, methods=["look"])
    assert (report["ok"], report["why"]) == (True, "")
    assert {"import", "snap hooks", "settle", "total"} <= set(report["ms"])
    guest = templates.fork(env={"WHO": "child"})
    assert guest.call(method="look") == (1000, True, True, "child")
    assert [name for name, _ in guest.expect("ready")[0]["phases"]] == ["enter hooks"]


def test_chance_differs_between_containers_of_one_template(templates: Templates) -> None:
    assert templates.make(PROGRAM, methods=["chance"])["ok"]
    first, second = (templates.fork().call(method="chance") for _ in range(2))
    assert all(a != b for a, b in zip(first, second, strict=True))


def test_async_methods_and_hooks_work_in_a_container_of_a_template_that_had_a_loop(templates: Templates) -> None:
    source = """
import asyncio
from inrush.client._marks import enter
class C:
    @enter(snap=True)
    async def load(self):
        await asyncio.sleep(0)
        self.loaded = True
    @enter()
    async def connect(self):
        self.lock = asyncio.Lock()
    async def get(self):
        async with self.lock:
            return self.loaded
"""
    assert templates.make(source, methods=["get"])["ok"]
    assert templates.fork().call(method="get") is True


def test_a_template_with_a_thread_that_does_not_end_names_it(templates: Templates) -> None:
    source = """
import threading
class C:
    def __init__(self):
        threading.Thread(target=threading.Event().wait, name="lingerer", daemon=True).start()
"""
    report = templates.make(source)
    assert not report["ok"]
    assert "2 threads" in report["why"]
    assert "lingerer" in report["why"]


def test_threads_that_end_soon_do_not_matter(templates: Templates) -> None:
    source = """
import threading, time
class C:
    def __init__(self):
        threading.Thread(target=time.sleep, args=(0.3,)).start()
"""
    assert templates.make(source)["ok"]


def test_tqdm_s_monitor_is_stopped(templates: Templates) -> None:
    (templates.root / "tqdm").mkdir()
    (templates.root / "tqdm" / "__init__.py").write_text("from .std import tqdm\n")
    (templates.root / "tqdm" / "std.py").write_text("""
import threading
class TMonitor(threading.Thread):
    def __init__(self, tqdm_cls):
        super().__init__(daemon=True, name="tqdm_monitor")
        self.tqdm_cls = tqdm_cls
        self.was_killed = threading.Event()
        self.start()
    def run(self):
        self.was_killed.wait()
class tqdm:
    monitor_interval = 10
    monitor = None
    def __init__(self):
        type(self).monitor = TMonitor(type(self))
""")
    report = templates.make("import tqdm\nclass C:\n    def __init__(self):\n        tqdm.tqdm()\n")
    assert (report["ok"], report["why"]) == (True, "")


def test_a_template_whose_hook_raises_says_so_with_the_traceback(templates: Templates) -> None:
    source = """
from inrush.client._marks import enter
class C:
    @enter(snap=True)
    def load(self):
        raise LookupError("no weights")
"""
    report = templates.make(source)
    assert not report["ok"]
    assert report["why"] == "LookupError: no weights"
    assert "in load" in report["traceback"]
    assert "inrush/guest" not in report["traceback"]


FAKE_TORCH = """
threads = sets = 0
def get_num_threads():
    return threads or 1
def set_num_threads(n):
    global threads, sets
    threads, sets = n, sets + 1
def manual_seed(n):
    pass
class cuda:
    @staticmethod
    def is_initialized():
        return {cuda}
"""
USES_TORCH = """
from inrush.client._marks import enter
class C:
    @enter(snap=True)
    def load(self):
        import torch
        {choose}
    def threads(self):
        import torch
        return torch.get_num_threads()
    def sets(self):
        import torch
        return torch.sets
"""


def with_torch(templates: Templates, cuda: bool = False, choose: str = "pass") -> dict[str, Any]:
    (templates.root / "torch.py").write_text(FAKE_TORCH.format(cuda=cuda))
    return templates.make(USES_TORCH.format(choose=choose), methods=["threads", "sets"])


def test_torch_gets_more_threads_in_a_container_than_in_its_template(templates: Templates) -> None:
    assert with_torch(templates)["ok"]
    assert templates.fork(env={"OMP_NUM_THREADS": "7"}).call(method="threads") == 7


def test_a_number_of_threads_that_user_code_set_stays(templates: Templates) -> None:
    assert with_torch(templates, choose="torch.set_num_threads(1)")["ok"]
    assert templates.fork(env={"OMP_NUM_THREADS": "7"}).call(method="threads") == 1


def test_torch_makes_its_pool_anew_before_two_inputs_could(templates: Templates) -> None:
    assert with_torch(templates, choose="torch.set_num_threads(1)")["ok"]
    assert templates.fork().call(method="sets") == 2


def test_a_template_that_touched_cuda_is_not_forked(templates: Templates) -> None:
    report = with_torch(templates, cuda=True)
    assert not report["ok"]
    assert "CUDA" in report["why"]


def test_a_logger_set_up_in_the_template_logs_with_the_call_in_its_containers(templates: Templates) -> None:
    source = """
import logging, sys
logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
class C:
    def tell(self):
        logging.info("told")
"""
    assert templates.make(source, methods=["tell"])["ok"]
    guest = templates.fork()
    guest.run("ca-1", arguments(), method="tell")
    assert guest.result("ca-1")[0] == OK
    assert guest.logs("stdout", "ca-1") == "told\n"


def test_what_a_template_prints_leaves_it_once(templates: Templates) -> None:
    source = "print('whole')\nprint('part', end='')\nclass C:\n    def quiet(self):\n        pass\n"
    report = templates.make(source, methods=["quiet"])
    assert report["ok"]
    assert templates.printed == "whole\npart"
    guest = templates.fork()
    guest.call(method="quiet")
    assert guest.logs() == ""


def test_generators_made_without_a_seed_differ_between_containers_and_seeded_ones_do_not(templates: Templates) -> None:
    source = """
import numpy
class C:
    def __init__(self):
        self.drawn, self.chosen = numpy.random.default_rng(), numpy.random.default_rng(42)
    def chance(self):
        return float(self.drawn.random()), float(self.chosen.random())
"""
    assert templates.make(source, methods=["chance"])["ok"]
    first, second = (templates.fork().call(method="chance") for _ in range(2))
    assert first[0] != second[0]
    assert first[1] == second[1]


def test_openblas_gets_its_threads_back_in_a_container(templates: Templates) -> None:
    source = """
import numpy
class C:
    def threads(self):
        import ctypes
        path = next(line.split()[-1] for line in open("/proc/self/maps") if "openblas" in line)
        return ctypes.CDLL(path).scipy_openblas_get_num_threads64_()
    def product(self):
        ones = numpy.ones((300, 300))
        return float((ones @ ones).sum())
"""
    assert templates.make(source, methods=["threads", "product"])["ok"]
    guest = templates.fork(env={"OPENBLAS_NUM_THREADS": "2"})
    assert guest.call(method="threads") == 2
    assert guest.call(method="product") == 300.0**3


def test_connections_of_the_template_are_closed_in_its_containers_and_only_there(templates: Templates) -> None:
    source = """
import socket
class C:
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.ours = socket.create_connection(self.listener.getsockname())
        self.theirs = self.listener.accept()[0]
    def read(self):
        return self.ours.recv(1)
"""
    assert templates.make(source, methods=["read"])["ok"]
    assert [templates.fork().call(method="read") for _ in range(2)] == [b"", b""]


def test_torch_stays_at_one_thread_where_the_template_had_asked_for_more(templates: Templates) -> None:
    choose = "torch.set_num_threads(4); torch.set_num_threads(1)"
    assert with_torch(templates, choose=choose)["ok"]
    assert templates.fork(env={"OMP_NUM_THREADS": "7"}).call(method="threads") == 1


def test_a_template_with_a_process_of_its_own_names_it(templates: Templates) -> None:
    source = """
import subprocess
class C:
    def __init__(self):
        self.helper = subprocess.Popen(["sleep", "3"])
"""
    report = templates.make(source)
    assert not report["ok"]
    assert "sleep" in report["why"]
