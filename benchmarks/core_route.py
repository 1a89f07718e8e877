"""What the core costs: µs per input of a map, and µs per placed container on a large fleet. Prints one line each.

    python benchmarks/core_route.py

The shell here only hands effects back as events: every dispatch ends at once, as one event. So what is timed is the
core, and the creation of its events; CPU time, so that a busy machine does not blur it.
"""

from __future__ import annotations

import time
from collections import deque

from inrush.core.cluster import Cluster
from inrush.core.model import effects, events
from inrush.wire import FunctionSpec, Gpu, GpuRequest, Inventory, Resources, ScalePolicy

CHUNK = 256


def warm(containers: int, slots: int) -> Cluster:
    """A cluster in which one function has so many ready containers."""
    cluster = Cluster("bench")
    cluster.step(events.NodeJoined("no-1", Inventory(cpu=1e4, memory_mib=10**8)), 0.0)
    scale = ScalePolicy(min_containers=containers, max_containers=containers, max_inputs=slots)
    pending = deque(cluster.step(events.FunctionAdded("fn-1", "ap-1", FunctionSpec(name="f", scale=scale)), 0.0))
    while pending:
        effect = pending.popleft()
        if isinstance(effect, effects.StartContainer):
            pending.extend(cluster.step(events.ContainerReady(effect.container, "fork", 5.0), 0.005))
    return cluster


def drive_map(cluster: Cluster, inputs: int, window: int = 4 * CHUNK) -> tuple[float, int]:
    """CPU seconds and steps for a map of no-ops, with a window of inputs in flight as a client would keep it."""
    began = time.process_time()
    now = 1.0
    steps, sent, done = 1, 0, 0
    pending = deque(cluster.step(events.CallArrived("ca-1", "fn-1", "map", inputs), now))
    while done < inputs:
        while sent < inputs and sent - done <= window - CHUNK:
            pending.extend(cluster.step(events.InputsArrived("ca-1", sent, CHUNK), now))
            sent += CHUNK
            steps += 1
        effect = pending.popleft()
        if isinstance(effect, effects.Dispatch):
            count = len(effect.indexes)
            now += 1e-5 * count
            ended = events.AttemptsEnded(effect.container, effect.call, effect.indexes, (0,) * count, effect.indexes)
            pending.extend(cluster.step(ended, now))
            steps += 1
        elif isinstance(effect, effects.Resolve):
            done += len(effect.indexes)
    return time.process_time() - began, steps


def drive_remote(cluster: Cluster, calls: int) -> float:
    """CPU seconds for warm calls of one input, one after the other."""
    began = time.process_time()
    for number in range(calls):
        call, now = f"ca-{number}", 1.0 + number * 1e-3
        cluster.step(events.CallArrived(call, "fn-1", "remote", 1), now)
        (dispatch,) = cluster.step(events.InputsArrived(call, 0, 1), now)
        assert isinstance(dispatch, effects.Dispatch)
        cluster.step(events.AttemptsEnded(dispatch.container, call, (0,), (0,), (None,)), now + 5e-4)
    return time.process_time() - began


def place(nodes: int, containers: int) -> tuple[float, float]:
    """CPU seconds to place so many containers of one GPU each on nodes of eight, and the longest step."""
    cluster = Cluster("bench")
    inventory = Inventory(cpu=64, memory_mib=512_000, gpus=tuple(Gpu(type="A100", index=i) for i in range(8)))
    for number in range(nodes):
        cluster.step(events.NodeJoined(f"no-{number}", inventory), 0.0)
    spec = FunctionSpec(
        name="f",
        resources=Resources(gpu=(GpuRequest(type="A100"),)),
        scale=ScalePolicy(min_containers=containers),
    )
    began = last = time.process_time()
    cluster.step(events.FunctionAdded("fn-1", "ap-1", spec), 0.0)
    longest = 0.0
    while len(cluster.containers) < containers:
        longest = max(longest, time.process_time() - last)
        last = time.process_time()
        cluster.step(events.Tick(), 0.0)
    return time.process_time() - began, longest


def each_route(cluster: Cluster, calls: int) -> list[float]:
    """Wall seconds of each step that routes one input to a free slot."""
    spent = []
    for number in range(calls):
        call, now = f"ca-{number}", 1.0 + number * 1e-3
        cluster.step(events.CallArrived(call, "fn-1", "remote", 1), now)
        began = time.perf_counter()
        (dispatch,) = cluster.step(events.InputsArrived(call, 0, 1), now)
        spent.append(time.perf_counter() - began)
        assert isinstance(dispatch, effects.Dispatch)
        cluster.step(events.AttemptsEnded(dispatch.container, call, (0,), (0,), (None,)), now + 5e-4)
    return spent


def each_place(nodes: int, containers: int) -> list[float]:
    """Wall seconds of each step that adds a function and places its container of one GPU on nodes of eight."""
    cluster = Cluster("bench")
    inventory = Inventory(cpu=64, memory_mib=512_000, gpus=tuple(Gpu(type="A100", index=i) for i in range(8)))
    for number in range(nodes):
        cluster.step(events.NodeJoined(f"no-{number}", inventory), 0.0)
    resources = Resources(gpu=(GpuRequest(type="A100"),))
    spec = FunctionSpec(name="f", resources=resources, scale=ScalePolicy(min_containers=1))
    spent = []
    for number in range(containers):
        added = events.FunctionAdded(f"fn-{number}", f"ap-{number % 50}", spec)
        began = time.perf_counter()
        out = cluster.step(added, 0.0)
        spent.append(time.perf_counter() - began)
        assert any(isinstance(effect, effects.StartContainer) for effect in out)
    return spent


def p50_us(spent: list[float]) -> float:
    return sorted(spent)[len(spent) // 2] * 1e6


def main() -> None:
    for containers, slots, inputs in ((1, 64, 102_400), (10, 64, 102_400), (50, 1, 51_200)):
        runs = [drive_map(warm(containers, slots), inputs) for _ in range(5)]
        seconds, steps = sorted(runs)[2]
        each, step = seconds / inputs * 1e6, seconds / steps * 1e6
        print(f"map {containers:3} x {slots:2}: {each:6.2f} µs/input, {step:6.2f} µs/step")
    seconds = sorted(drive_remote(warm(1, 64), 20_000) for _ in range(5))[2]
    print(f"warm remote, its three steps: {seconds / 20_000 * 1e6:6.2f} µs/call")
    print(f"route one input, p50: {p50_us(each_route(warm(1, 64), 20_000)):6.2f} µs")
    print(f"place one container among 1250 nodes, p50: {p50_us(each_place(1250, 2000)):6.1f} µs")
    for nodes, containers in ((1250, 64), (1250, 10_000)):
        seconds, longest = place(nodes, containers)
        print(
            f"place {containers:6} on {nodes} nodes: {seconds / containers * 1e6:7.1f} µs/container, "
            f"{seconds:.3f} s in all, longest step {longest * 1e3:.1f} ms"
        )


if __name__ == "__main__":
    main()
