"""How a container ended, in words for people and as the failure that its inputs get."""

from __future__ import annotations

import signal
from dataclasses import dataclass

import msgspec

from inrush.launcher.specs import Exited
from inrush.wire import Codec, FunctionSpec, Status, SystemFailure, system_failure

_CODES = {
    Status.STARTUP: "StartupError",
    Status.CRASHED: "ExecutionError",
    Status.OUT_OF_MEMORY: "OutOfMemoryError",
    Status.LOST: "ExecutionError",
}


@dataclass(frozen=True)
class End:
    """`payload` is empty for ends that are nobody's failure."""

    status: Status
    why: str
    payload: bytes = b""


def failure(status: Status, why: str) -> End:
    """An end whose failure is the sentence itself."""
    return End(status, why, system_failure(_CODES.get(status, "ExecutionError"), why))


def traceback_of(payload: bytes) -> str:
    """The traceback that a failure of the guest's own words carries, ending with a newline; empty without one."""
    if payload[:1] != Codec.JSON.value:
        return ""
    text = msgspec.json.decode(payload[1:], type=SystemFailure).traceback
    return f"{text.rstrip()}\n" if text else ""


def of_exit(exited: Exited, spec: FunctionSpec, ready: bool, printed: str) -> End:
    """What it means that the process ended by itself. `printed` tells the last that it wrote, or nothing."""
    if exited.oom:
        return failure(Status.OUT_OF_MEMORY, _out_of_memory(exited, spec))
    how = _how(exited)
    if not ready:
        return failure(Status.STARTUP, f"the container of {spec.name} {how} before it was ready{printed}")
    return failure(Status.CRASHED, f"the container of {spec.name} {how} while it ran{printed}")


def _out_of_memory(exited: Exited, spec: FunctionSpec) -> str:
    limit = spec.resources.memory_limit_mib
    over = f"its limit of {limit} MiB" if limit else "what this node has for containers"
    return (
        f"the container of {spec.name} was killed: it needed more memory than {over} "
        f"(highest {exited.memory_peak_mib:.0f} MiB); raise `memory=`, or lower what one input needs"
    )


def _how(exited: Exited) -> str:
    if not exited.signal:
        return f"exited with status {exited.code}"
    try:
        name = signal.Signals(exited.signal).name
    except ValueError:
        name = f"signal {exited.signal}"
    return f"was killed by {name}"
