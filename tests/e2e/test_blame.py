"""Who pays for what goes wrong in a container: the input that did it, and nobody beside it, behind it or after it."""

from __future__ import annotations

import pytest

from running_server import RunningServer, poll

SHARED = """
import ctypes, os, signal, threading, time
import inrush, inrush.errors

app = inrush.App("blame")

def cling(seconds):
    try:
        time.sleep(seconds)
    except BaseException:
        time.sleep(seconds)
"""


def test_what_runs_beside_an_input_that_clings_is_tried_elsewhere_at_no_cost(server: RunningServer) -> None:
    program = """
@app.function(timeout=3, retries=0, max_containers=1)
@inrush.concurrent(max_inputs=4)
def f(k):
    if k == "stuck":
        cling(60)
    time.sleep(2.7)
    return k

@app.local_entrypoint()
def main():
    f.spawn("stuck")
    time.sleep(2.5)
    print(f.remote("innocent"))
"""
    assert "innocent" in server.run(SHARED + program).stdout


@pytest.mark.parametrize("stuck", ["cling(60)", "ctypes.PyDLL(None).sleep(60)"])
def test_what_never_began_behind_an_input_that_clings_is_tried_elsewhere(server: RunningServer, stuck: str) -> None:
    program = f"""
@app.function(timeout=1, retries=0, max_containers=1)
def f(i):
    if i == 0:
        {stuck}
    return i

@app.function(timeout=1, max_containers=1)
def items(i):
    if i == 0:
        {stuck}
    yield i

@app.local_entrypoint()
def main():
    print([repr(r)[:20] for r in f.map(range(3), return_exceptions=True)])
    got = [[], [], []]
    def take(i):
        try:
            got[i] += list(items.remote_gen(i))
        except inrush.errors.FunctionTimeoutError:
            got[i] += ["timeout"]
    threads = [threading.Thread(target=take, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.3)
    for thread in threads:
        thread.join()
    print(got)
"""
    said = server.run(SHARED + program).stdout
    assert "['FunctionTimeoutError', '1', '2']" in said
    assert "[['timeout'], [1], [2]]" in said


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_container_that_is_told_to_end_by_its_own_code_takes_nothing_more(server: RunningServer, number: str) -> None:
    program = f"""
@app.function(retries=0, max_containers=1)
@inrush.concurrent(max_inputs=2)
def f(end):
    if end:
        os.kill(os.getpid(), signal.{number})
    time.sleep(0.2)
    return "ok"

@app.local_entrypoint()
def main():
    print(f.remote(True), f.remote(False), list(f.map([False, True, False, False])))
"""
    assert "ok ok ['ok', 'ok', 'ok', 'ok']" in server.run(SHARED + program).stdout


@pytest.mark.parametrize("stuck", ["cling(60)", "await cling_async()", "ctypes.PyDLL(None).sleep(60)"])
def test_a_cancelled_input_that_swallows_it_loses_its_container_and_its_caller_is_told_at_once(
    server: RunningServer, stuck: str
) -> None:
    program = f"""
import asyncio

async def cling_async():
    while True:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            pass

@app.function(gpu="A10G:8", timeout=60)
{"async " if "await" in stuck else ""}def stuck():
    {stuck}

@app.function(gpu="A10G:8")
def free():
    return "free"

@app.local_entrypoint()
def main():
    call = stuck.spawn()
    while not stuck.get_current_stats().num_running_inputs:
        time.sleep(0.1)
    began = time.monotonic()
    call.cancel()
    try:
        call.get(timeout=30)
    except inrush.errors.CancelledError:
        print("TOLD", time.monotonic() - began < 1.5)
    print(free.remote(), time.monotonic() - began < 30)
"""
    said = server.run(SHARED + program).stdout
    assert "TOLD True" in said
    assert "free True" in said


def test_a_request_whose_client_has_left_costs_nobody_beside_it_anything(server: RunningServer) -> None:
    program = """
import urllib.request

@app.function(max_containers=1)
@inrush.concurrent(max_inputs=4)
@inrush.asgi_app()
def web():
    async def serve(scope, receive, send):
        end = time.monotonic() + 6
        while time.monotonic() < end:
            try:
                await asyncio.sleep(0.2)
            except asyncio.CancelledError:
                pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": os.environ["INRUSH_CONTAINER_ID"].encode()})
    return serve

def asked(timeout):
    try:
        with urllib.request.urlopen(web.get_web_url(), timeout=timeout) as response:
            return response.read()
    except TimeoutError:
        return b"left"

@app.local_entrypoint()
def main():
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor() as pool:
        left, stays = pool.submit(asked, 3), pool.submit(asked, 60)
        print("LEFT", left.result(), "STAYED", stays.result()[:3])
"""
    said = server.run(SHARED.replace("import ctypes", "import asyncio, ctypes") + program).stdout
    assert "LEFT b'left' STAYED b'co-'" in said


@pytest.mark.parametrize("dies", ["ctypes.string_at(0)", "raise RuntimeError('not restored')", "os._exit(0)"])
def test_a_snapshot_whose_containers_die_is_set_aside_and_they_start_plainly(server: RunningServer, dies: str) -> None:
    program = f"""
@app.cls(enable_memory_snapshot=True)
class M:
    @inrush.enter(snap=True)
    def load(self):
        self.id = os.environ.get("INRUSH_CONTAINER_ID")

    @inrush.enter()
    def ready(self):
        if self.id is None:
            {dies}

    @inrush.method()
    def go(self):
        return "fine"

@app.local_entrypoint()
def main():
    print([M().go.remote() for _ in range(3)])
    print(os.popen(f"{{sys.executable}} -m inrush why blame::M").read())
"""
    done = server.run(SHARED.replace("import ctypes", "import sys, ctypes") + program)
    assert "['fine', 'fine', 'fine']" in done.stdout
    assert "2 of its containers in a row ended before they were ready" in done.stdout
    assert "2 of its containers in a row ended before they were ready" in done.stdout + done.stderr


def test_no_device_is_lost_between_parts_of_gpus_and_priorities(server: RunningServer) -> None:
    program = """
@app.function(gpu="A100:0.5", priority=3)
def half(s):
    time.sleep(s)

@app.function(gpu="A100:8", priority=10)
def high(s):
    time.sleep(s)

@app.local_entrypoint()
def main():
    def loop(f, s, gap):
        for _ in range(8):
            f.remote(s)
            time.sleep(gap)
    threads = [threading.Thread(target=loop, args=a) for a in [(half, .1, .02)] * 4 + [(high, .1, .1)] * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("ALL ENDED")
"""
    assert "ALL ENDED" in server.run(SHARED + program).stdout
    poll(lambda: not server.containers(), 20, lambda: str(server.containers()))
